"""Archives that no builder makes: what an attacker, a broken disk or another release could put into a store."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cosmos_venv.environments.archive.packing import Contents
from cosmos_venv.environments.archive.signed_record import ArchiveRecord, Signer
from cosmos_venv.environments.archive.zstandard import zstd
from tests.environments.archive.machines import KEY

PREFIX = "/somewhere/envs-v1/builds/build-1"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member of an archive.

    :param claims: attributes of its head, such as ``linkname`` or ``type``; they need not fit.
    """

    name: str
    content: bytes = b""
    claims: tuple[tuple[str, Any], ...] = ()

    @property
    def head(self) -> tarfile.TarInfo:
        info = tarfile.TarInfo(self.name)
        info.size = len(self.content)
        info.mode, info.mtime = 0o644, 1_700_000_000
        for name, value in self.claims:
            setattr(info, name, value)
        return info


def plain(name: str, content: bytes = b"", **claims: Any) -> Member:
    return Member(name=name, content=content, claims=tuple(claims.items()))


def link(name: str, target: str) -> Member:
    return Member(name=name, claims=(("type", tarfile.SYMTYPE), ("linkname", target)))


def special(name: str, kind: bytes, **claims: Any) -> Member:
    return Member(name=name, claims=(("type", kind), *claims.items()))


def tar_of(members: Iterable[Member], *, tar_format: int = tarfile.GNU_FORMAT) -> bytes:
    """The bytes of a tar file, with all that the members claim."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tar_format) as tar:
        for member in members:
            tar.addfile(member.head, io.BytesIO(member.content))
    return written.getvalue()


def put(archive: Path, members: Sequence[Member], *, tar: bytes | None = None, **claims: Any) -> Contents:
    """Write an archive, and return a record that fits, but for what it claims.

    :param tar: in place of what the members make.
    """
    archive.write_bytes(zstd().compress(tar_of(members) if tar is None else tar))
    sizes = [len(member.content) for member in members]
    contents = Contents(
        sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
        size=archive.stat().st_size,
        unpacked=sum(sizes),
        files=len(members),
        prefix=PREFIX,
        relocated=(),
    )
    return replace(contents, **claims)


def record_file(remote: Path) -> Path:
    """The one record of a store."""
    (found,) = remote.rglob("*.json")
    return found


def archive_file(remote: Path) -> Path:
    """The one archive of a store."""
    (found,) = remote.rglob("*.tar.zst")
    return found


def record_in(remote: Path, signer: Signer | None = None) -> ArchiveRecord:
    """The record of a store as a machine reads it."""
    file = record_file(remote)
    return (signer or Signer(key=KEY)).open(file.read_bytes(), name=file.stem, platform=file.parent.name)


def forge(
    remote: Path,
    change: Callable[[ArchiveRecord], ArchiveRecord] = lambda record: record,
    *,
    members: Callable[[list[Member]], list[Member]] | None = None,
    signer: Signer | None = None,
) -> None:
    """Put another record into a store, signed as if a builder had made it, and another archive.

    :param change: of the record.
    :param members: of the archive; None: it stays.
    :param signer: with which it is signed; None: with the key of all machines.
    """
    record, file, archive = record_in(remote), record_file(remote), archive_file(remote)
    if members is not None:
        forged = members(members_of(archive))
        contents = put(archive, forged, prefix=record.contents.prefix, relocated=record.contents.relocated)
        archive.rename(archive.with_name(f"{file.stem}-{contents.sha256[:16]}.tar.zst"))
        record = replace(record, contents=contents)
    file.write_bytes((signer or Signer(key=KEY)).sign(change(record)))


def members_of(archive: Path) -> list[Member]:
    """The members of an archive that a builder has made."""
    found = []
    with zstd().ZstdFile(archive) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
        for info in tar:
            reader = tar.extractfile(info) if info.isreg() else None
            claims = {"mode": info.mode, "mtime": info.mtime, "type": info.type, "linkname": info.linkname}
            content = reader.read() if reader is not None else b""
            found.append(Member(name=info.name, content=content, claims=tuple(claims.items())))
    return found
