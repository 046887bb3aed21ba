"""Digests of the files that a requirement names: a changed file asks for another environment.

A DAG file is parsed for them: a file that has no end, or keeps its reader waiting, is not read.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cosmos_venv import os_errors
from cosmos_venv.environments import credentials, options
from cosmos_venv.environments.local_path import is_url, local_path
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.limits import endless_kind_of, read_file, sha256_of_file

# What an installer itself leaves in a source tree, and what never becomes part of a package.
_NOT_CONTENT = {"__pycache__", "build", "dist", ".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", ".mypy_cache"}
_NOT_CONTENT_SUFFIXES = (".egg-info", ".pyc", ".pyo")
_COMMENT = re.compile(r"(^|\s)#.*$")
_VARIABLE = r"\$\{(?P<name>[A-Z0-9_]+)\}"


def digest_of_path(path: Path) -> str:
    """SHA-256 over a file's bytes, or over every file below a directory with its relative path.

    :raises CosmosValueError: naming ``py_requirements``, when the path cannot be read.
    """
    try:
        if path.is_dir():
            return _digest_of_tree(path)
        return sha256_of_file(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def canonical_requirements_file(path: Path, _above: tuple[Path, ...] = ()) -> list[str]:
    """Lines of a ``-r`` or ``-c`` file without credentials; files named in it are replaced by what they hold.

    :raises CosmosValueError: naming the file, when it cannot be read or includes itself.
    """
    above = _with_file(path, _above)
    return [part for line in _lines_of(above[-1]) for part in _canonical_line(line, above[-1], above)]


def options_in_file(
    path: Path, environ: Mapping[str, str], _above: tuple[Path, ...] = ()
) -> Iterator[options.InstallOption]:
    """The options of a ``-r`` or ``-c`` file and of the files that it names, in the order in which pip obeys them.

    Those that belong to one requirement alone, such as ``--hash``, are among them. Addresses are not followed.

    :param environ: for ``${NAME}``, which pip and uv replace.
    :raises CosmosValueError: naming the file, when it cannot be read or includes itself.
    """
    above = _with_file(path, _above)
    file = above[-1]
    for line in _lines_of(file):
        text = re.sub(_VARIABLE, lambda named: environ.get(named["name"]) or named.group(), line)
        for option in options.parse(_options_of(text)):
            if option.name:
                yield replace(option, origin=str(file))
            if option.names_requirements_file and option.value and "://" not in option.value:
                yield from options_in_file(file.parent / option.value, environ, above)


def requirements_in_file(path: Path, _above: tuple[Path, ...] = ()) -> Iterator[str]:
    """The requirements of a ``-r`` file and of the files that it names, without their options.

    :raises CosmosValueError: naming the file, when it cannot be read or includes itself.
    """
    above = _with_file(path, _above)
    for line in _lines_of(above[-1]):
        if not line.startswith("-"):
            yield line.partition(" -")[0].strip()
            continue
        for option in options.parse(shlex.split(line)):
            if option.name == "--requirement" and option.value and "://" not in option.value:
                yield from requirements_in_file(above[-1].parent / option.value, above)


def _options_of(line: str) -> list[str]:
    """The words of a line that are options or their values: all, or those behind a requirement."""
    if line.startswith("-"):
        return shlex.split(line)
    before, dash, behind = line.partition(" -")
    return shlex.split(f"-{behind}") if dash and before else []


def _with_file(path: Path, above: tuple[Path, ...]) -> tuple[Path, ...]:
    path = Path(os.path.realpath(path))  # Path.resolve raises a RuntimeError for a link to itself
    if path in above:
        raise CosmosValueError(f"pip_install_options: the requirements file {path} includes itself. Remove the cycle.")
    return (*above, path)


def _lines_of(file: Path) -> list[str]:
    try:
        text = read_file(file).decode("utf-8", errors="surrogateescape").replace("\r\n", "\n")
    except OSError as error:
        raise _unreadable(file, error) from error
    return [_COMMENT.sub("", line).strip() for line in text.replace("\\\n", " ").splitlines()]


def _canonical_line(line: str, file: Path, above: tuple[Path, ...]) -> Iterator[str]:
    if not line.startswith("-"):
        yield from _canonical_requirement(line, file)
        return
    for option in options.parse(shlex.split(line)):
        yield option.name
        value = option.value or ""
        if option.names_requirements_file and "://" not in value:
            yield from canonical_requirements_file(file.parent / value, above)
        else:
            yield from _canonical_requirement(value, file)


def _canonical_requirement(text: str, file: Path) -> Iterator[str]:
    """The text without credentials and, of a file or folder that it names, what that holds."""
    if not text:
        return
    yield credentials.remove(text)
    if "://" in text or is_url(text):
        address = urlsplit(text[text.rfind("file:") :]) if "file:" in text else None
        if address is not None:
            yield from _content_of(Path(unquote(address.path)))
        return
    if local := local_path(text):
        # pip reads a local path relative to its working directory; beside the file is what people mean, so both count.
        for folder in dict.fromkeys((file.parent, Path.cwd())):
            yield from _content_of(folder / local.path)


def _content_of(path: Path) -> Iterator[str]:
    """Of what is not there the installer says what it makes of it: in a file it may have variables of pip's in it."""
    if path.exists():
        yield digest_of_path(path)


def _digest_of_tree(root: Path) -> str:
    digest = hashlib.sha256()
    for file in _files_below(root):
        # An installer may never look at a socket that lies in the folder: it counts as what it is.
        content = endless_kind_of(file.stat().st_mode) or sha256_of_file(file)
        digest.update(f"{file.relative_to(root).as_posix()}\0{content}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files_below(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if _is_content(name))
        yield from (Path(folder, name) for name in sorted(files) if _is_content(name))


def _is_content(name: str) -> bool:
    return name not in _NOT_CONTENT and not name.endswith(_NOT_CONTENT_SUFFIXES)


def _unreadable(path: Path, error: OSError) -> CosmosValueError:
    return CosmosValueError(
        f"py_requirements: {path} cannot be read: "
        + os_errors.told(error, "Give a path that exists on every worker, or a requirement from an index.")
    )
