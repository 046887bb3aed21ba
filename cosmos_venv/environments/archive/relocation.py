"""Files of an environment that stands at another path: what names the path, and what is said of such files."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping

from cosmos_venv.environments.post_install import with_row
from cosmos_venv.files.filesystem_check import LONGEST_SHEBANG

_SHEBANG = re.compile(rb"#!(?P<program>/[^ \r\n]*)(?P<arguments>[^\r\n]*)")
# As installers write it: the kernel takes neither a longer first line nor blanks in a path.
_SHELL = re.compile(rb"#!/bin/sh\n'''exec' (?P<quoted>.+) \"\$0\" \"\$@\"\n' '''")


def moved(content: bytes, old: bytes, new: bytes) -> bytes:
    """Return a file that names another path of its environment, in its first line too.

    :param content: of the file.
    :param old: path of the environment that it names.
    :param new: path of the environment that it is to name.
    """
    head, program, arguments = _first_line(content)
    if not program.startswith(old + b"/"):
        return content.replace(old, new)
    rest = content[len(head) :].replace(old, new)
    return _with_program(program.replace(old, new), arguments) + rest


def source_of(byte_code: str) -> str:
    """Return the name of the source of a file of byte code.

    :param byte_code: its name, relative to the environment.
    """
    folder, _, name = byte_code.rpartition("/")
    return f"{folder.removesuffix('__pycache__')}{name.partition('.')[0]}.py"


def corrected_record(record: bytes, name: str, written: Mapping[str, bytes]) -> bytes:
    """Return a RECORD with hash and size of files as they are now, where it names them.

    :param record: its content.
    :param name: its name, relative to the environment, as those of ``written``.
    :param written: content of files, by their names.
    """
    text = record.decode()
    folder = os.path.dirname(os.path.dirname(name))  # noqa: PTH120 - of names
    for each, content in written.items():
        # Most files are of another package: this is a hundred times as fast as to look for a row.
        if os.path.basename(each) in text:  # noqa: PTH119
            text = with_row(text, os.path.relpath(each, folder), content)
    return text.encode()


def _first_line(content: bytes) -> tuple[bytes, bytes, bytes]:
    """Return what begins a script, and the program and the arguments in it; empty where it is none."""
    if shell := _SHELL.match(content):
        try:
            program, *arguments = shlex.split(os.fsdecode(shell["quoted"]))
        except ValueError:
            return b"", b"", b""
        return shell[0], os.fsencode(program), b"".join(b" " + os.fsencode(each) for each in arguments)
    if shebang := _SHEBANG.match(content):
        return shebang[0], shebang["program"], shebang["arguments"]
    return b"", b"", b""


def _with_program(program: bytes, arguments: bytes) -> bytes:
    """Return what begins a script that a program runs, without the end of its last line."""
    if len(program + arguments) <= LONGEST_SHEBANG and b" " not in program:
        return b"#!" + program + arguments
    quoted = b"'" + program.replace(b"'", b"'\"'\"'") + b"'"
    return b"#!/bin/sh\n'''exec' " + quoted + arguments + b" \"$0\" \"$@\"\n' '''"
