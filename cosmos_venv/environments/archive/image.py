"""Environments as an image of the Open Container Initiative, whose one layer is a store at another path.

The root of the layer is the store: it is mounted at the path that its files name. The same environments make the same
bytes. All of it belongs to root, and nobody else may write to it.

:source: the OCI image specification 1.1: image layout, index, manifest, configuration, layer.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from cosmos_venv.environments.archive.packing import (
    Member,
    NotPortable,
    all_names,
    is_made_by_creation,
    leads_inside,
    open_member,
    refuse_quotation_mark,
)
from cosmos_venv.environments.archive.relocation import corrected_record, moved, source_of
from cosmos_venv.environments.environment import BuildRecord
from cosmos_venv.environments.layout import LAYOUT
from cosmos_venv.files.durable_files import in_one_step
from cosmos_venv.files.read_limits import sha256_of_file
from cosmos_venv.processes.scratch import scratch_folder

ARCHIVE_SUFFIX = ".tar"
"""What the name of a layout ends with that is one file; any other is a folder."""
LABELS = "cosmos-venv."
"""What the names of our labels begin with."""

# Of a dbt with DuckDB (180 MB): level 1 makes 64 MB, 4 makes 58 MB in twice the time, 6 makes 55 MB in three times.
_LEVEL = 4
_MEDIA = "application/vnd.oci.image"
_TAG = "latest"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386"}
_FOLDER, _FILE, _OWN_FILE, _LINK = 0o755, 0o644, 0o600, 0o777
_BUILDS = "builds"
_OF_TOOLS = frozenset({".lock", ".gitignore", "CACHEDIR.TAG"})  # for tools where it was made
_RECORD = ".dist-info/RECORD"


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that was written.

    :param digest: of its manifest, as ``sha256:`` and 64 hexadecimal digits.
    :param size: bytes of its layer.
    """

    digest: str
    size: int


@dataclass(frozen=True, kw_only=True)
class MovedEnvironment:
    """An environment as it is at the path at which an image is mounted.

    :param build: directory of its build, which nobody changes or removes meanwhile.
    :param record: of its build.
    :param at: the absolute path at which the image is mounted.
    :param names: of its files and links, relative to the build.
    :param written: content of the files that are others there, by their names.
    """

    build: Path
    record: BuildRecord
    at: Path
    names: Sequence[str]
    written: Mapping[str, bytes]

    @classmethod
    def of(cls, build: Path, record: BuildRecord, at: Path) -> MovedEnvironment:
        """Return an environment as it is at another path. Each of its files is read.

        :param build: directory of its build, which nobody changes or removes meanwhile.
        :param record: of its build.
        :param at: the absolute path at which the image is mounted.
        :raises NotPortable: when it works only where it stands.
        :raises OSError: when it cannot be read.
        """
        names = [name for name in all_names(build) if name not in _OF_TOOLS]
        as_it_is = cls(build=build, record=record, at=at, names=names, written={})
        for path in (build, as_it_is.path):
            refuse_quotation_mark(path)
        written = as_it_is._written_anew()
        # Byte code of another source, whose time is the same, and its size may be.
        kept = [name for name in names if not (name.endswith(".pyc") and source_of(name) in written)]
        return replace(as_it_is, names=kept, written=written)

    def _written_anew(self) -> dict[str, bytes]:
        """Return the content of the files that name their place, and of the RECORDs that name such files."""
        written: dict[str, bytes] = {}
        old, new = os.fsencode(self.build), os.fsencode(self.path)
        for name in self.names:
            with self._opened(name) as member:
                if member.names_its_place and member.file is not None:
                    written[name] = moved(member.file.read(), old, new)
        # What a RECORD says of itself is nothing, even where it names its place.
        changed = {name: content for name, content in written.items() if not name.endswith(_RECORD)}
        for name in self.names if changed else ():
            if name.endswith(_RECORD):
                record = written.get(name) or (self.build / name).read_bytes()
                written[name] = corrected_record(record, name, changed)
        return written

    @property
    def name(self) -> str:
        """Its name among the builds of the store: the first of its digest."""
        return f"{self.record.digest}-1"

    @property
    def path(self) -> Path:
        """Its path where the image is mounted."""
        return self.at / LAYOUT / _BUILDS / self.name

    @property
    def built_at(self) -> int:
        """When it was built, in seconds since the epoch."""
        return int(datetime.fromisoformat(self.record.built_at).timestamp())

    def members(self) -> dict[str, Callable[[], AbstractContextManager[Member]]]:
        """Return what opens each file and link of a store that holds it, by their names in the store."""
        builds = f"{LAYOUT}/{_BUILDS}/{self.name}"
        return {
            f"{LAYOUT}/{self.record.digest}": lambda: nullcontext(self._link(f"{_BUILDS}/{self.name}")),
            f"{builds}.json": lambda: nullcontext(self._file(self.record.to_json().encode(), _FILE)),
            # Whoever may open a lease could lock it: as in a store, only its owner may.
            f"{builds}.lease": lambda: nullcontext(self._file(b"", _OWN_FILE)),
            **{f"{builds}/{name}": partial(self._moved, name) for name in self.names},
        }

    @contextmanager
    def _moved(self, name: str) -> Iterator[Member]:
        with self._opened(name) as member:
            # Byte code counts only while the time of its source is the one that it was made of.
            if not name.endswith(".py"):
                member.info.mtime = self.built_at
            if name in self.written:
                content = self.written[name]
                member.info.size = len(content)
                yield Member(info=member.info, file=io.BytesIO(content))
            else:
                yield member

    def _opened(self, name: str) -> AbstractContextManager[Member]:
        path = self.build / name
        if not (path.is_symlink() and is_made_by_creation(self.build, name)):
            return open_member(self.build, name)
        target = os.readlink(path)  # noqa: PTH115 - as it is written
        if not leads_inside(name, target) and os.path.realpath(path) != self.record.spec.interpreter.executable:
            raise NotPortable(f"{name} is a link that leads to {target}, out of the environment")
        return nullcontext(self._link(target))

    def _file(self, content: bytes, mode: int) -> Member:
        info = tarfile.TarInfo()
        info.size, info.mode, info.mtime = len(content), mode, self.built_at
        return Member(info=info, file=io.BytesIO(content))

    def _link(self, target: str) -> Member:
        info = tarfile.TarInfo()
        info.type, info.linkname, info.mode, info.mtime = tarfile.SYMTYPE, target, _LINK, self.built_at
        return Member(info=info)


def write_image(target: Path, environments: Sequence[MovedEnvironment], *, on_file: Callable[[], None]) -> Image:
    """Write an image layout: a folder where nothing stands yet, or a file ``….tar``, which is replaced.

    :param target: of the layout.
    :param environments: what it holds: at least one, all for one path and of one machine.
    :param on_file: called for each file; what it raises ends the writing.
    :raises OSError: when a file cannot be read, or the layout cannot be written. Then nothing is left of it.
    """
    with in_one_step(target) as apart:
        if target.suffix != ARCHIVE_SUFFIX:
            return _write_layout(apart, environments, on_file)
        with scratch_folder("cosmos-venv-image-") as scratch:
            layout = scratch / "layout"
            image = _write_layout(layout, environments, on_file)
            with tarfile.open(apart, "w", format=tarfile.PAX_FORMAT) as tar:
                for path in sorted(layout.rglob("*")):
                    tar.add(path, path.relative_to(layout), recursive=False, filter=_of_root(environments))
            return image


def count_files(environments: Sequence[MovedEnvironment]) -> int:
    """Return how often ``write_image`` calls ``on_file``.

    :param environments: as for ``write_image``.
    """
    return sum(len(each.members()) for each in environments)


def _write_layout(layout: Path, environments: Sequence[MovedEnvironment], on_file: Callable[[], None]) -> Image:
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    unpacked = _write_layer(blobs / "layer", environments, on_file)
    digest, size = sha256_of_file(blobs / "layer"), (blobs / "layer").stat().st_size
    (blobs / "layer").rename(blobs / digest)
    layer = _descriptor("layer.v1.tar+gzip", digest, size)
    config = _add(blobs, "config.v1+json", _configuration(environments, unpacked))
    manifest = _add(
        blobs,
        "manifest.v1+json",
        {"schemaVersion": 2, "mediaType": f"{_MEDIA}.manifest.v1+json", "config": config, "layers": [layer]},
    )
    named = {
        **manifest,
        "platform": _platform(environments),
        "annotations": {"org.opencontainers.image.ref.name": _TAG},
    }
    index = {"schemaVersion": 2, "mediaType": f"{_MEDIA}.index.v1+json", "manifests": [named]}
    (layout / "index.json").write_bytes(_json(index))
    (layout / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return Image(digest=str(manifest["digest"]), size=size)


def _write_layer(file: Path, environments: Sequence[MovedEnvironment], on_file: Callable[[], None]) -> str:
    """Write the layer, and return the SHA-256 of what it unpacks to."""
    members = {name: opened for each in environments for name, opened in each.members().items()}
    newest = max(each.built_at for each in environments)
    folders = {parent for name in members for parent in _parents(name)}
    with (
        file.open("xb") as opened,
        gzip.GzipFile("", "wb", compresslevel=_LEVEL, fileobj=opened, mtime=0) as packed,
        _Hashed(packed) as hashed,
    ):
        # Long names and times without a fraction are all that the format of POSIX is asked for.
        with tarfile.open(fileobj=hashed, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for name in sorted({*members, *folders}):
                if name in folders:
                    folder = tarfile.TarInfo(name)
                    folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, _FOLDER, newest
                    tar.addfile(folder)
                    continue
                on_file()
                with members[name]() as member:
                    member.info.name = name
                    tar.addfile(member.info, member.file)
        return hashed.hexdigest()


class _Hashed(io.RawIOBase):
    """A file that is written, and the SHA-256 of what was written to it.

    :param file: which stays open.
    """

    def __init__(self, file: BinaryIO | gzip.GzipFile) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, content: bytes) -> int:  # type: ignore[override]  # tarfile writes nothing else
        """Write bytes.

        :param content: the bytes.
        """
        self._hash.update(content)
        return self._file.write(content)

    def hexdigest(self) -> str:
        """Return the SHA-256 of all of it, as 64 hexadecimal digits."""
        return self._hash.hexdigest()


def _configuration(environments: Sequence[MovedEnvironment], unpacked: str) -> dict[str, object]:
    created = max((each.record for each in environments), key=lambda record: record.built_at).built_at
    held = [
        {
            "digest": each.record.digest,
            "requirements": each.record.spec.requirements,
            "python": each.record.spec.interpreter.executable,
            "python_version": each.record.spec.interpreter.version,
            "pins": each.record.pins,
        }
        for each in environments
    ]
    labels = {
        f"{LABELS}path": str(environments[0].at),
        f"{LABELS}environments": json.dumps(held, ensure_ascii=False),
    }
    return {
        "created": created,
        **_platform(environments),
        "config": {"Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{unpacked}"]},
        "history": [{"created": created, "created_by": "cosmos-venv env export"}],
    }


def _platform(environments: Sequence[MovedEnvironment]) -> dict[str, object]:
    system, machine, *_ = environments[0].record.spec.interpreter.platform.split("-")
    return {"architecture": _ARCHITECTURES.get(machine, machine), "os": system}


def _add(blobs: Path, media: str, data: Mapping[str, object]) -> dict[str, object]:
    content = _json(data)
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return _descriptor(media, digest, len(content))


def _descriptor(media: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": f"{_MEDIA}.{media}", "digest": f"sha256:{digest}", "size": size}


def _json(data: Mapping[str, object]) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _parents(name: str) -> Iterator[str]:
    while name := name.rpartition("/")[0]:
        yield name


def _of_root(environments: Sequence[MovedEnvironment]) -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    newest = max(each.built_at for each in environments)

    def of_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = newest
        info.mode = _FOLDER if info.isdir() else _FILE
        return info

    return of_root
