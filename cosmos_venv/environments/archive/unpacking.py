"""Unpacking an environment: its archive becomes an environment of the Python and at the path of this machine.

The archive is read only after its SHA-256 is the one that its record names. Nevertheless no member can leave the
directory: names and links are judged, and links are made when all files stand.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cosmos_venv.environments.archive.packing import BadArchive, Contents, leads_inside
from cosmos_venv.environments.archive.zstandard import zstd
from cosmos_venv.environments.post_install import with_row
from cosmos_venv.files.filesystem_check import LONGEST_SHEBANG
from cosmos_venv.files.read_limits import sha256_of_file

_SPECIAL_BITS = 0o7000
_PERMISSIONS = 0o755
_SHEBANG = re.compile(rb"#!(?P<command>[^\r\n]*)")
_RECORDS = "lib*/*/site-packages/*.dist-info/RECORD"


def unpack(archive: Path, contents: Contents, environment: Path, *, on_file: Callable[[], None]) -> None:
    """Put the files of an archive into an empty environment, as if they had been installed there.

    :param archive: its file.
    :param contents: what stands in it, by its record.
    :param environment: directory of an environment that was just created, of the same Python.
    :param on_file: called before each file; what it raises ends the unpacking.
    :raises BadArchive: when the archive is another one than its record names, or a member is refused.
    :raises VirtualenvError: when zstandard is missing.
    :raises OSError: when it cannot be read, or the directory cannot be written.
    """
    found = archive.stat().st_size
    if found != contents.size:
        raise BadArchive(f"it has {found} bytes instead of {contents.size}")
    if sha256_of_file(archive) != contents.sha256:
        raise BadArchive("its SHA-256 is not that of its record")
    unpacking = _Unpacking(contents=contents, environment=environment)
    try:
        with zstd().ZstdFile(archive) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            for info in tar:
                on_file()
                unpacking.take(info, tar)
    except (tarfile.TarError, zstd().ZstdError, EOFError) as error:
        raise BadArchive(f"it cannot be unpacked: {error}") from error
    unpacking.finish()


@dataclass(kw_only=True)
class _Unpacking:
    contents: Contents
    environment: Path
    files: int = 0
    unpacked: int = 0
    links: dict[str, str] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    relocated: dict[str, bytes] = field(default_factory=dict)

    def take(self, info: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        """Write one member of the archive.

        :param info: its head.
        :param tar: from which its content is read.
        :raises BadArchive: when it is refused.
        """
        name = info.name
        self._judge(info)
        if info.issym():
            self.links[name] = info.linkname
            return
        reader: Any = tar.extractfile(info)
        content: bytes = reader.read()
        if name in self.contents.relocated:
            content = self._moved(content)
            self.relocated[name] = content
        path = f"{self.environment}/{name}"
        self._make_folder(path)
        # O_EXCL: what the creation of the environment has made stays, and no member comes twice.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, info.mode & _PERMISSIONS)
        except FileExistsError as error:
            raise BadArchive(f"{name} comes twice, or stands in an empty environment") from error
        with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - of a descriptor
            file.write(content)
            os.utime(descriptor, (info.mtime, info.mtime))
            # Whatever the umask of this process is: what is executed must be.
            os.fchmod(descriptor, info.mode & _PERMISSIONS)

    def _judge(self, info: tarfile.TarInfo) -> None:
        name = info.name
        if os.path.normpath(name) != name or name.startswith(("/", "..")) or name == ".":
            raise BadArchive(f"{name!r} leads out of the environment")
        if not (info.isreg() or info.issym()):
            raise BadArchive(f"{name} is neither a file nor a link")
        if info.mode & _SPECIAL_BITS:
            raise BadArchive(f"{name} has special permissions ({info.mode:o})")
        if info.issym() and not leads_inside(name, info.linkname):
            raise BadArchive(f"{name} is a link that leads to {info.linkname}, out of the environment")
        self.files += 1
        self.unpacked += info.size
        if self.files > self.contents.files or self.unpacked > self.contents.unpacked:
            raise BadArchive("it holds more than its record says")

    def _make_folder(self, path: str) -> None:
        folder = path.rpartition("/")[0]
        if folder in self.made:
            return
        # With the mode of its own and not of the umask: others read environments, and do not write to them.
        if not os.path.isdir(folder):  # noqa: PTH112
            self._make_folder(folder)
            os.mkdir(folder)  # noqa: PTH102
            os.chmod(folder, _PERMISSIONS)  # noqa: PTH101
        self.made.add(folder)

    def _moved(self, content: bytes) -> bytes:
        """Return a file that names this environment in place of the one that was packed."""
        moved = content.replace(os.fsencode(self.contents.prefix), os.fsencode(self.environment))
        shebang = _SHEBANG.match(moved)
        if shebang is None or not shebang["command"].startswith(os.fsencode(self.environment)):
            return moved
        command = shebang["command"]
        if len(command) <= LONGEST_SHEBANG and b" " not in command:
            return moved
        # As installers write it: the kernel takes neither a longer first line nor blanks in a path.
        quoted = b"'" + command.replace(b"'", b"'\"'\"'") + b"'"
        return b"#!/bin/sh\n'''exec' " + quoted + b" \"$0\" \"$@\"\n' '''" + moved[shebang.end() :]

    def finish(self) -> None:
        """Make the links, and correct what RECORD files say of files that now name another path.

        :raises BadArchive: when files are missing.
        """
        if self.files != self.contents.files:
            raise BadArchive(f"it holds {self.files} files instead of {self.contents.files}")
        for name, target in self.links.items():
            self._make_folder(f"{self.environment}/{name}")
            (self.environment / name).symlink_to(target)
        if self.relocated:
            for record in self.environment.glob(_RECORDS):
                _correct_record(record, self.environment, self.relocated)


def _correct_record(record: Path, environment: Path, written: Mapping[str, bytes]) -> None:
    """Correct hash and size of files in a RECORD, where it names them."""
    text = before = record.read_bytes().decode()
    folder = record.parent.parent
    for name, content in written.items():
        text = with_row(text, os.path.relpath(environment / name, folder), content)
    if text != before:
        record.write_bytes(text.encode())
