"""Environments in a remote store: one machine builds an environment, and all others fetch it.

``<platform>/<digest>-<place>.json`` is the record, which the store's folder signs. ``<place>`` is a digest of the path
of the folder of builds: an environment is fetched only into the path at which it was built. The record names the
SHA-256 of the archive, ``<platform>/<digest>-<place>-<sha256>.tar.zst``. The archive is written before its record. When
two machines build the same environment, the record that is written last counts. The archive of the earlier record stays
until a retention rule of the storage removes it.

Unless the store is required, no fault of the store fails a task: the task builds the environment itself, and its log
says why in one line.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

from cosmos_venv.environments import post_install
from cosmos_venv.environments.archive import BadArchive, pack, unpack, zstd
from cosmos_venv.environments.spec import Interpreter
from cosmos_venv.environments.store import LAYOUT, BuildRecord
from cosmos_venv.exceptions import CommandKilled, VirtualenvError
from cosmos_venv.files.read_limits import Limit, parsed, sha256_of_file
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.scratch import scratch_folder

_RECORD_LIMIT = Limit(most=4 << 20)
_LONGEST_QUESTION = 10.0
_MEGABYTE = 1e6


class Folder(Protocol):
    """A folder that all machines reach. What ``write`` has written there is signed.

    A file is made or replaced atomically. ``download`` returns whether the file exists with the given size. ``read``
    raises a ``ValueError`` when the file is not signed with the key. Each call raises an ``OSError`` when it fails or
    takes longer than ``seconds``. ``on_wait`` is called several times a second; an exception that it raises ends the
    call.
    """

    def read(  # noqa: D102 - as the class says
        self, name: str, *, seconds: float, limit: Limit, on_wait: Callable[[], None]
    ) -> bytes | None: ...

    def write(  # noqa: D102 - as the class says
        self, name: str, content: bytes, *, seconds: float, on_wait: Callable[[], None]
    ) -> None: ...

    def download(  # noqa: D102 - as the class says
        self, name: str, file: Path, *, size: int, seconds: float, on_wait: Callable[[], None]
    ) -> bool: ...

    def upload(  # noqa: D102 - as the class says
        self, file: Path, name: str, *, seconds: float, on_wait: Callable[[], None]
    ) -> None: ...

    def remove(self, name: str, *, seconds: float) -> None:  # noqa: D102 - as the class says
        ...


def platform_key(interpreter: Interpreter) -> str:
    """Return the key of the machines that can use each other's environments of a Python.

    Exact Python, C library with its version, architecture, and the layout of environments:
    ``cpython-3.12.7-manylinux_2_36_x86_64-envs-v2``.

    :param interpreter: the Python.
    """
    from packaging.tags import platform_tags  # few tasks fetch

    tags = list(platform_tags())
    # Some releases of packaging begin with a tag that names no C library.
    tag = next((tag for tag in tags if not tag.startswith("linux_")), tags[0])
    return "-".join([interpreter.implementation, interpreter.version, tag, LAYOUT])


@dataclass(frozen=True, kw_only=True)
class RemoteStore:
    """The environments that all machines share.

    :param folder: the folder that holds them; its text names it, without credentials.
    :param seconds: longest duration of the download or upload of an archive.
    :param may_push: whether environments that are built here are uploaded.
    :param is_required: whether it is an error when the store cannot provide an environment; nothing is built here then.
    """

    folder: Folder
    seconds: float
    may_push: bool = True
    is_required: bool = False


@dataclass(frozen=True, kw_only=True)
class ArchiveRecord:
    """The record of one environment in a remote store.

    :param sha256: of its archive, 64 hexadecimal digits.
    :param size: bytes of its archive.
    :param build: the record of its build, which names the folder.
    """

    sha256: str
    size: int
    build: BuildRecord


@dataclass(kw_only=True)
class RemoteEnvironment:
    """One environment in the remote store, for one task.

    :param store: the remote store.
    :param digest: of the environment.
    :param interpreter: the Python that it is made of.
    :param root: folder of the builds among which it stands, or is to stand.
    :param cancellation: ends the waiting.
    :param report: gets lines for the task's log.
    :param warn: gets lines that somebody should act on.
    """

    store: RemoteStore
    digest: str
    interpreter: Interpreter
    root: Path
    cancellation: Cancellation
    report: Callable[[str], None] = lambda _: None
    warn: Callable[[str], None] = lambda _: None
    may_still_push: bool = field(default=True, init=False)
    """False after the store has failed to answer: nothing is pushed to it then."""

    def __post_init__(self) -> None:
        self.platform = platform_key(self.interpreter)
        place = hashlib.sha256(str(self.root).encode()).hexdigest()[:16]
        self._stem = f"{self.platform}/{self.digest}-{place}"

    def find(self, *, newer_than: str = "") -> ArchiveRecord | None:
        """Return the record of an environment that can be fetched; None when it is to be built here.

        :param newer_than: ISO 8601; an environment that was built then or before counts as none. Empty: each counts.
        :raises CommandKilled: when ``cancellation`` was requested.
        :raises VirtualenvError: when there is none, and the store is the only source.
        """
        try:
            zstd()  # without zstandard no archive can be packed or unpacked
            name, seconds = f"{self._stem}.json", min(_LONGEST_QUESTION, self.store.seconds)
            on_wait = self.cancellation.raise_if_requested
            content = self.store.folder.read(name, seconds=seconds, limit=_RECORD_LIMIT, on_wait=on_wait)
            record = None if content is None else parsed(content, ArchiveRecord)
        except CommandKilled:
            raise
        except Exception as error:  # noqa: BLE001 - such as no memory or no free thread: it is built here instead
            self._give_up(error)
            return None
        if record is None:
            wanted = f"environment {self.digest[:12]} for {self.platform} at {self.root.parent}"
            self.build_here_instead(f"{self.store.folder} holds no {wanted}", self.report)
            return None
        path = self.root / record.build.build
        if record.build.built_at <= newer_than:
            return None
        if os.path.lexists(path):
            self.build_here_instead(f"The virtualenv of {self.store.folder} was built at {path}, which is taken")
            return None
        return record

    def fetch(self, record: ArchiveRecord, directory: Path, *, on_tick: Callable[[], None]) -> BuildRecord | None:
        """Put the environment into a directory; None when it is to be built here, and the directory is gone then.

        :param record: of ``find``.
        :param directory: the folder that the record names; does not exist yet or is empty.
        :param on_tick: called for each file, and several times a second during the download.
        :returns: the record of its build.
        :raises CommandKilled: when ``cancellation`` was requested.
        :raises VirtualenvError: when it cannot be fetched, and the store is the only source.
        :raises OSError: when the directory cannot be emptied.
        """
        began = time.monotonic()

        def on_file() -> None:
            self.cancellation.raise_if_requested()
            on_tick()

        try:
            with scratch_folder("cosmos-venv-fetch-") as scratch:
                archive = scratch / "archive"
                folder, name, seconds = self.store.folder, self._archive(record), self.store.seconds
                if not folder.download(name, archive, size=record.size, seconds=seconds, on_wait=on_file):
                    # A retention rule may have removed the archive before its record. The build here is pushed instead.
                    raise BadArchive("its archive is gone, or has another size than its record says")
                if sha256_of_file(archive) != record.sha256:
                    raise BadArchive("its SHA-256 is not that of its record")
                unpack(archive, directory, interpreter=self.interpreter.executable, on_file=on_file)
            # The builder has checked on the same platform that dbt can be imported.
            with post_install.flushed_to_disk(directory, cancellation=self.cancellation, report=self.report):
                pass
        except CommandKilled:
            raise
        except Exception as error:  # noqa: BLE001 - of this machine too, such as a full temporary folder
            if directory.exists():
                shutil.rmtree(directory)
            self._give_up(error)
            return None
        self.report(
            f"Fetched {_size(record.size)} from {self.store.folder} in {time.monotonic() - began:.1f} s; "
            f"built by {record.build.built_by} at {record.build.built_at}."
        )
        return replace(record.build, fetched_from=str(self.store.folder))

    def put(self, environment: Path, build: BuildRecord) -> int:
        """Put an environment into the store, in place of one that is there, and return the bytes of its archive.

        :param environment: its directory.
        :param build: the record of its build.
        :raises NotPortable: when it works only on this machine.
        :raises VirtualenvError: when zstandard is missing.
        :raises OSError: when it cannot be read, or the store does not take it.
        :raises CommandKilled: when ``cancellation`` was requested.
        """
        folder, seconds, on_wait = self.store.folder, self.store.seconds, self.cancellation.raise_if_requested
        with scratch_folder("cosmos-venv-push-") as scratch:
            archive = scratch / "archive"
            pack(environment, archive, interpreter=self.interpreter.executable, on_file=on_wait)
            size = archive.stat().st_size
            record = ArchiveRecord(sha256=sha256_of_file(archive), size=size, build=build)
            folder.upload(archive, self._archive(record), seconds=seconds, on_wait=on_wait)
        content = json.dumps(asdict(record), ensure_ascii=False).encode()
        folder.write(f"{self._stem}.json", content, seconds=seconds, on_wait=on_wait)
        on_wait()  # a local folder answers before anybody has waited
        return size

    def push(self, environment: Path, build: BuildRecord) -> bool:
        """Put an environment that was built here into the store, if ``may_push``. An error is only a line in the log.

        :param environment: its directory.
        :param build: the record of its build.
        :returns: whether it stands there now.
        :raises CommandKilled: when ``cancellation`` was requested.
        """
        if not (self.store.may_push and self.may_still_push):
            return False
        began = time.monotonic()
        try:
            size = self.put(environment, build)
        except CommandKilled:
            raise
        except Exception as error:  # noqa: BLE001 - such as no memory for zstandard; the task has its environment
            self.warn(f"The virtualenv could not be put into {self.store.folder}: {error}.")
            return False
        self.report(f"Put {_size(size)} into {self.store.folder} in {time.monotonic() - began:.1f} s.")
        return True

    def build_here_instead(self, reason: str, tell: Callable[[str], None] | None = None) -> None:
        """Tell why the environment is built here.

        :param reason: a sentence without its full stop.
        :param tell: gets the line; None: ``warn`` does.
        :raises VirtualenvError: when the store is the only source.
        """
        if self.store.is_required:
            raise VirtualenvError(f"{reason}.")
        (tell or self.warn)(f"{reason}. It is built here.")

    def _give_up(self, error: Exception) -> None:
        # With a damaged or unsigned archive the store does answer: the new build is pushed in its place.
        self.may_still_push = isinstance(error, ValueError | BadArchive)
        self.build_here_instead(f"The virtualenv of {self.store.folder} is not used: {error}")

    def _archive(self, record: ArchiveRecord) -> str:
        return f"{self._stem}-{record.sha256[:16]}.tar.zst"


def _size(size: int) -> str:
    return f"{size / _MEGABYTE:.1f} MB"
