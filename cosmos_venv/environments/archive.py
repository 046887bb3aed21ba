"""An environment as one file: tar, packed with zstandard.

An archive is unpacked at the path at which its environment was built, beside the same interpreter, so nothing in it is
changed. Its links to the interpreter lead there at once, without a chain. Each other member passes the ``data`` filter
of ``tarfile``: no file stands outside of the directory or gets special permissions, and no link leads out.
"""

from __future__ import annotations

import json
import os
import stat
import tarfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from cosmos_venv.exceptions import VirtualenvError

# Of a dbt with DuckDB (180 MB): level 1 makes 58 MB in 1.3 s, 3 makes 50 MB in 1.7 s, 6 makes 47 MB in 3.0 s.
_LEVEL = 3
_THREADS = 2
_FOR_ALL, _FILE = 0o755, 0o644


class NotPortable(VirtualenvError):
    """An environment that works only on the machine where it was built. The text says why, as a clause."""


class BadArchive(VirtualenvError):
    """An archive that is damaged, or has a member that the filter refuses. The text is a clause with the fault."""


def zstd() -> Any:
    """Return the module ``compression.zstd`` of Python 3.14, or ``backports.zstd``, which has the same names.

    :raises VirtualenvError: when this Python has neither, with what to install.
    """
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise VirtualenvError("it is packed with zstandard, which is missing: install cosmos-venv[remote]")


def pack(environment: Path, archive: Path, *, interpreter: str, on_file: Callable[[], None]) -> None:
    """Write an archive of an environment.

    :param environment: directory of a build, which nobody changes.
    :param archive: the file to be made.
    :param interpreter: real path of the Python that the environment was made of.
    :param on_file: called before each file; what it raises ends the packing.
    :raises NotPortable: when a file works only on this machine.
    :raises VirtualenvError: when zstandard is missing.
    :raises OSError: when a file cannot be read, or the archive cannot be written.
    """

    def packed(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        on_file()
        if member.issym() and _leads_out(environment, member):
            if os.path.realpath(environment / member.name) != interpreter or not _is_in_bin(member):
                raise NotPortable(
                    f"{member.name[2:]} is a link that leads to {member.linkname}, out of the environment"
                )
            member.linkname = interpreter
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            raise NotPortable(f"{member.name[2:]} is neither a file nor a link")
        if member.name.endswith("/direct_url.json") and _is_editable(environment / member.name):
            raise NotPortable(f"{member.name.split('/')[-2]} is installed in editable mode, from a folder elsewhere")
        return member

    parameters = zstd().CompressionParameter
    options = {parameters.compression_level: _LEVEL, parameters.nb_workers: _THREADS}
    # The POSIX format takes two more blocks for each file whose time has a fraction of a second.
    with (
        zstd().ZstdFile(archive, "w", options=options) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        tar.add(environment, arcname=".", filter=packed)


def _leads_out(environment: Path, link: tarfile.TarInfo) -> bool:
    target = os.path.realpath(environment / link.name)
    return link.linkname.startswith("/") or not target.startswith(f"{os.path.realpath(environment)}/")


def _is_in_bin(member: tarfile.TarInfo) -> bool:
    return member.name.rpartition("/")[0] == "./bin"


def _is_editable(direct_url: Path) -> bool:
    return bool(json.loads(direct_url.read_bytes()).get("dir_info", {}).get("editable"))


def unpack(archive: Path, environment: Path, *, interpreter: str, on_file: Callable[[], None]) -> None:
    """Make the environment that was packed.

    :param archive: an archive of ``pack``. The caller has compared its SHA-256 with its record.
    :param environment: its directory, at the same path as when it was packed; it does not exist yet or is empty.
    :param interpreter: as for ``pack``.
    :param on_file: called before each file; what it raises ends the unpacking.
    :raises BadArchive: when the archive is damaged, or a member is refused.
    :raises VirtualenvError: when zstandard is missing, or this Python's ``tarfile`` has no filters.
    :raises OSError: when the archive cannot be read, or the directory cannot be written.
    """
    if not hasattr(tarfile, "data_filter"):
        raise VirtualenvError("the tarfile of this Python has no filters: update it to 3.10.12, 3.11.4 or a later one")

    def judged(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        on_file()
        if member.issym() and member.linkname == interpreter and _is_in_bin(member):
            return member
        # Others may read an environment, and not write to it, whatever umask this process has.
        is_for_all = member.isdir() or member.mode & stat.S_IXUSR
        return tarfile.data_filter(member, path).replace(mode=_FOR_ALL if is_for_all else _FILE, deep=False)

    try:
        with zstd().ZstdFile(archive) as compressed, tarfile.open(fileobj=compressed, mode="r|") as tar:
            tar.extractall(environment, filter=judged)  # noqa: S202 - each member is judged
    except (tarfile.TarError, zstd().ZstdError, EOFError) as error:
        raise BadArchive(f"it cannot be unpacked: {error}") from error
