"""Environments in a remote store: each is built by one machine and fetched by all others.

``<platform>/<digest>.json`` is the signed record, the one object that is ever replaced. It names the archive,
``<platform>/<digest>-<sha256>.tar.zst``. ``<platform>/<digest>.lease`` says who builds. A builder renews it. Another
machine that sees it unchanged for too long takes it over, so no clocks are compared.

Nothing that goes wrong with the remote fails a task: it builds as without, and its log says why in one line.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from cosmos_venv.environments import post_install
from cosmos_venv.environments.archive.packing import BadArchive, Contents, NotPortable, pack
from cosmos_venv.environments.archive.signed_record import ArchiveRecord, NotTrusted, Signer, digest_of_record, opened
from cosmos_venv.environments.archive.unpacking import unpack
from cosmos_venv.environments.archive.zstandard import zstd
from cosmos_venv.environments.environment import BuildRecord
from cosmos_venv.environments.installers.creation import create_empty, empty_directory
from cosmos_venv.environments.layout import LAYOUT
from cosmos_venv.environments.spec import Interpreter
from cosmos_venv.exceptions import CommandKilled, VirtualenvError
from cosmos_venv.files.durable_files import shut_out_others
from cosmos_venv.files.permissions import Writers
from cosmos_venv.files.read_limits import Limit
from cosmos_venv.files.untrusted import value_of
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.scratch import scratch_folder

_RECORD_LIMIT, _LEASE_LIMIT = Limit(most=4 << 20), Limit(most=4 << 10)
_LONGEST_QUESTION = 10.0
_LONGEST_RENEWAL = 3.0  # the building waits for it
_RENEWAL = 5.0
_STALE = 20.0  # a builder that works renews its lease four times meanwhile
_MOST_FAILED = 2  # the first builder's failure may be its machine's own
_TURN = 1.0
_SETTLED = 0.5
_MEGABYTE = 1e6
_LONGEST_WORD = 100


class Folder(Protocol):
    """A folder that all machines reach.

    A file is made or replaced in one step, ``download`` tells whether it is there and has its size, and ``sweep``
    removes files that begin likewise and have been there for long. Each call raises an ``OSError`` when it cannot be
    done within its seconds. ``on_wait`` is called several times a second; what it raises ends the call.
    """

    def read(  # noqa: D102 - as the class says
        self, name: str, *, seconds: float, limit: Limit, on_wait: Callable[[], None]
    ) -> bytes | None: ...

    def write(  # noqa: D102 - as the class says
        self, name: str, content: bytes, *, seconds: float, sweeps: bool, on_wait: Callable[[], None]
    ) -> None: ...

    def download(  # noqa: D102 - as the class says
        self, name: str, file: Path, *, size: int, seconds: float, on_wait: Callable[[], None]
    ) -> bool: ...

    def upload(  # noqa: D102 - as the class says
        self, file: Path, name: str, *, seconds: float, on_wait: Callable[[], None]
    ) -> None: ...

    def sweep(  # noqa: D102 - as the class says
        self, beginning: str, *, keep: Collection[str], seconds: float, on_wait: Callable[[], None]
    ) -> None: ...

    def remove(self, name: str, *, seconds: float) -> None:  # noqa: D102 - as the class says
        ...


def platform_key(interpreter: Interpreter) -> str:
    """Return the key of the machines that can use each other's environments of a Python.

    Exact Python, C library with its version, architecture, and the layout of environments:
    ``cpython-3.12.7-manylinux_2_36_x86_64-envs-v1``.

    :param interpreter: the Python.
    """
    from packaging.tags import platform_tags  # few tasks fetch

    tags = list(platform_tags())
    # Some releases of packaging begin with one that names no C library.
    tag = next((tag for tag in tags if not tag.startswith("linux_")), tags[0])
    return "-".join([interpreter.implementation, interpreter.version, tag, LAYOUT])


@dataclass(frozen=True, kw_only=True)
class RemoteStore:
    """Environments of all machines.

    :param folder: where they are kept; its text names it, without credentials.
    :param signer: signs records, and says whose are accepted.
    :param seconds: that a task waits at most for the store, or for another machine that builds.
    :param may_push: whether what is built here is put there.
    :param is_required: whether it is an error when it does not give an environment: nothing is to be built here.
    :param now: seconds of a clock that never goes back.
    :param sleep: waits for so many seconds.
    """

    folder: Folder
    signer: Signer
    seconds: float
    may_push: bool = True
    is_required: bool = False
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """An environment that stands in the remote store.

    :param record_sha256: what a lock file names it by, 64 hexadecimal digits.
    :param size: bytes of its archive.
    :param is_unchanged: whether the store had the record of this very archive already.
    """

    record_sha256: str
    size: int
    is_unchanged: bool


@dataclass(kw_only=True)
class Visit:
    """One task's use of the remote store for one environment: it fetches it, or builds and pushes it.

    :param store: the remote store.
    :param name: portable digest of the environment.
    :param interpreter: the Python of this machine that the environment is for.
    :param cancellation: ends the waiting.
    :param report: gets lines for the task's log.
    :param warn: gets lines that somebody should act on.
    """

    store: RemoteStore
    name: str
    interpreter: Interpreter
    cancellation: Cancellation
    report: Callable[[str], None]
    warn: Callable[[str], None]
    platform: str = field(init=False)
    """Key of the machines that can use the environment."""
    _pushes: bool = field(init=False)
    _deadline: float = field(init=False)
    _lease: dict[str, object] | None = field(default=None, init=False)
    _renewed: float = field(default=0.0, init=False)
    _on_tick: Callable[[], None] | None = field(default=None, init=False)
    _ticked: float = field(default=0.0, init=False)
    _builder: str | None = field(default=None, init=False)
    _leases: dict[str, tuple[object, float]] = field(default_factory=dict, init=False)
    _refused: dict[str, None] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._pushes = self.store.may_push
        self._deadline = self.store.now() + self.store.seconds
        self.platform = platform_key(self.interpreter)
        self._stem = f"{self.platform}/{self.name}"

    def fetch(
        self,
        directory: Path,
        *,
        writers: Writers,
        newer_than: str = "",
        checks_content: bool = False,
        on_tick: Callable[[], None],
    ) -> tuple[BuildRecord, list[str]] | None:
        """Put the environment into a directory; None when it is to be built here, and the directory is empty then.

        Where another machine builds it, that is waited for. Where none does, the others wait for this one.

        :param directory: does not exist yet or is empty.
        :param writers: who else may write to what is installed.
        :param newer_than: ISO 8601; one that was built then or before counts as none. Empty: each counts.
        :param checks_content: whether each file is held against its hash, and not its size alone.
        :param on_tick: called about once a second meanwhile.
        :returns: the record of its build, with the digest of the builder's machine, and the names of its commands.
        :raises CommandKilled: when ``cancellation`` was requested.
        :raises VirtualenvError: when there is none, and the store is the only source.
        :raises OSError: when the directory cannot be written.
        """
        self._on_tick = on_tick
        bad = ""
        while (record := self._wait_for(newer_than, bad)) is not None:
            began = self.store.now()
            try:
                self._fetch(record, directory, writers, checks_content=checks_content)
            except BadArchive as error:
                self._refuse(error)
                bad = record.contents.sha256
                empty_directory(directory)
            except CommandKilled:
                raise
            except Exception as error:  # noqa: BLE001 - of this machine too, such as a full temporary folder
                self._give_up(error)  # the building tells of it, or gets on with it
                empty_directory(directory)
                break
            else:
                seconds = self.store.now() - began
                by = f"built by {_shown(record.build.built_by.host)} at {_shown(record.build.built_at)}"
                self.report(f"Fetched {_size(record.contents.size)} from {self.store.folder} in {seconds:.1f} s; {by}.")
                spec = replace(record.build.spec, interpreter=self.interpreter)
                build = replace(record.build, spec=spec, fetched_from=str(self.store.folder))
                return build, list(record.commands)
        if self.store.is_required:
            why = f": {'; '.join(self._refused)}" if self._refused else ""
            raise VirtualenvError(
                f"{self.store.folder} holds no environment {self.name[:12]} for {self.platform} that can be used{why}."
            )
        return None

    def _fetch(self, record: ArchiveRecord, directory: Path, writers: Writers, *, checks_content: bool) -> None:
        self._deadline = self.store.now() + self.store.seconds  # that for another machine's build is over
        with scratch_folder("cosmos-venv-fetch-") as scratch:
            self._download(record, scratch / "archive")
            create_empty(directory, self.interpreter, cancellation=self.cancellation)
            shut_out_others(directory, writers)  # a tool's umask is this process's; what is unpacked has its own mode
            unpack(scratch / "archive", record.contents, directory, on_file=self._look_up)
        # That dbt can be imported was checked by the builder, on the same platform.
        with post_install.written_out(directory, cancellation=self.cancellation, report=self.report):
            if faults := post_install.faults(directory, content=checks_content):
                raise BadArchive(", ".join(list(faults)[:3]))

    def push(self, environment: Path, build: BuildRecord, commands: Iterable[str]) -> bool:
        """Put an environment that was built here into the store. Whatever goes wrong is a line in the log.

        :param environment: its directory.
        :param build: the record of its build.
        :param commands: names of its commands.
        :returns: whether it stands there now.
        :raises CommandKilled: when ``cancellation`` was requested.
        """
        if not self._pushes:
            return False
        if (self.name, self.platform) in self.store.signer.locked:
            # Every machine would refuse what takes its place.
            self.report(f"The lock file names another build than this one, which is not put into {self.store.folder}.")
            return False
        began = self.store.now()
        try:
            pushed = self.put(environment, build, commands)
        except NotPortable as error:
            self.report(f"The virtualenv stays on this machine: {error}.")
        except CommandKilled:
            raise
        except Exception as error:  # noqa: BLE001 - such as no memory for zstandard; the task has what it asked for
            self.warn(f"The virtualenv could not be put into {self.store.folder}: {error}.")
        else:
            seconds = self.store.now() - began
            self.report(f"Put {_size(pushed.size)} into {self.store.folder} in {seconds:.1f} s.")
            return True
        return False

    def put(self, environment: Path, build: BuildRecord, commands: Iterable[str]) -> Pushed:
        """Put an environment into the store, in place of one that is there.

        The record of the very archive that is there stays: lock files may name it.

        :param environment: its directory.
        :param build: the record of its build.
        :param commands: names of its commands.
        :raises NotPortable: when it works only where it was built.
        :raises VirtualenvError: when zstandard is missing, or this one would not be signed and the one there is.
        :raises OSError: when it cannot be read, or the store does not take it.
        :raises CommandKilled: when ``cancellation`` was requested.
        """
        with scratch_folder("cosmos-venv-push-") as scratch:
            archive = scratch / "archive"
            contents = pack(environment, archive, on_file=self._look_up)
            self._deadline = self.store.now() + self.store.seconds
            name = _archive_name(self._stem, contents.sha256)
            known = self._record_of(contents)
            signed = known or self.store.signer.sign(
                ArchiveRecord.of(self.name, self.platform, contents, commands, build)
            )
            folder, left, record_name = self.store.folder, self._left, f"{self._stem}.json"
            # Even where both are there: a rule of the storage may have removed the archive, or be about to.
            folder.upload(archive, name, seconds=left(), on_wait=self._look_up)
            folder.write(record_name, signed, seconds=left(), sweeps=False, on_wait=self._look_up)
            # What is removed belongs to an earlier environment, or to a push that was killed. An archive of a moment
            # ago may be that of another machine, which writes its record next.
            keep = {name, record_name, f"{self._stem}.lease"}
            folder.sweep(self._stem, keep=keep, seconds=left(), on_wait=self._look_up)
            self._look_up()  # a local folder answers before anybody has waited
        return Pushed(
            record_sha256=digest_of_record(opened(signed)[0]), size=contents.size, is_unchanged=known is not None
        )

    def renew(self) -> None:
        """Show other machines that this one is at work, where they wait for it."""
        if self._lease is None or self.store.now() - self._renewed < _RENEWAL:
            return
        self._renewed = self.store.now()
        try:
            found = self._read_lease(_LONGEST_RENEWAL)
            if found is None or found.get("id") != self._lease["id"]:
                # Another machine has taken it over while this one stood still. Written again, it would keep that
                # machine from being seen at work, and ``close`` would remove its lease.
                self._lease = None
                return
            self._lease["renewed"] = int(str(self._lease["renewed"])) + 1
            self._write_lease(self._lease, _LONGEST_RENEWAL)
        except CommandKilled:
            raise
        except Exception:  # noqa: BLE001 - the build counts: after a while others take the lease over
            self._renewed = math.inf

    def close(self) -> None:
        """Give up the lease: nobody waits for this machine any more."""
        lease, self._lease = self._lease, None
        if lease is None or self._is_taken_over(lease):
            return
        try:
            self.store.folder.remove(f"{self._stem}.lease", seconds=_LONGEST_RENEWAL)
        except Exception as error:  # noqa: BLE001 - the task has what it asked for
            self.report(f"The lease in {self.store.folder} stays for {_STALE:.0f} s: {error}.")

    def _is_taken_over(self, lease: Mapping[str, object]) -> bool:
        """Whether another machine has written its lease since; False where that cannot be known."""
        try:
            # The task may have been killed: ``cancellation`` does not count here, or the others would wait.
            found = self._read_lease(_LONGEST_RENEWAL, on_wait=lambda: None)
        except Exception:  # noqa: BLE001 - whatever it is: a lease that stays costs all others more
            return False
        return found is not None and found.get("id") != lease["id"]

    def _wait_for(self, newer_than: str, bad: str) -> ArchiveRecord | None:
        """Return the record of an environment that can be fetched; None when this machine is to build it.

        :param newer_than: as in ``fetch``.
        :param bad: SHA-256 of an archive that counts as none; empty: each counts.
        """
        try:
            zstd()  # without it nothing can be done there
            while True:
                record = self._record()
                if record is not None and record.contents.sha256 != bad and record.build.built_at > newer_than:
                    return record
                # Without a push others would wait for what never comes.
                if not self._pushes or self._is_to_build():
                    return None
        except NotTrusted as error:
            self._pushes = False  # what others have signed is not replaced
            self.close()
            self._refuse(error)
        except CommandKilled:
            raise
        except Exception as error:  # noqa: BLE001 - no memory, no thread more: a reason to build, and none to fail
            self._give_up(error)
        return None

    def _is_to_build(self) -> bool:
        """Return whether this machine builds now; False where the store is to be asked once more for a record."""
        if self._lease is not None:
            return True  # what it has fetched or built before was no good
        if self._left() <= _TURN:
            self.report(f"It has not come within {self.store.seconds:.0f} s: it is built here too.")
            return True
        lease, now = self._read_lease(self._question()), self.store.now()
        if lease is None and self._builder is not None:
            # Its builder has failed, or has put a record there since that was looked for.
            self._leases[self._builder] = None, -math.inf
            self._builder = None
            return False
        self._builder = None if lease is None else str(lease.get("id"))
        # Two may build at once, and overwrite each other's lease: who is not there now may come back.
        failed = sum(now - at >= _STALE for builder, (_, at) in self._leases.items() if builder != self._builder)
        if failed >= _MOST_FAILED:
            self.report(f"{failed} machines have begun to build it, and it has not come: it is built here too.")
            return True
        if lease is None or self._builder is None:
            self._take_lease()
            return False
        known, renewed = self._leases.get(self._builder, (None, now))
        if lease == known and now - renewed >= _STALE:
            self._take_lease()
            return False
        if self._builder not in self._leases:
            self.report(f"The virtualenv is being built by {_shown(lease.get('host'))}: waiting for it.")
        if lease != known:
            self._leases[self._builder] = lease, now
        self._pause(_TURN)
        return False

    def _record(self) -> ArchiveRecord | None:
        name = f"{self._stem}.json"
        content = self._read(name, _RECORD_LIMIT, self._question())
        if content is None:
            return None
        try:
            return self.store.signer.open(content, name=self.name, platform=self.platform)
        except BadArchive as error:
            self._refuse(error)
            return None

    def _record_of(self, contents: Contents) -> bytes | None:
        """Return the text of the store's record where it is trusted and names just this archive; None otherwise."""
        content = self._read(f"{self._stem}.json", _RECORD_LIMIT, self._question())
        if content and not self.store.signer.key and _is_signed(content):
            raise VirtualenvError(
                "the environment that is there is signed, and there is no key here to sign this one: machines with the "
                "key would refuse it. Set remote_key_conn_id or remote_key_file, or use another folder"
            )
        try:
            record = content and self.store.signer.open(content, name=self.name, platform=self.platform)
        except (BadArchive, NotTrusted):
            return None
        return content if record and record.contents == contents else None

    def _download(self, record: ArchiveRecord, file: Path) -> None:
        name, size = _archive_name(self._stem, record.contents.sha256), record.contents.size
        if not self.store.folder.download(name, file, size=size, seconds=self._left(), on_wait=self._look_up):
            # A rule of the storage may have removed it before its record. What is built here takes its place.
            raise BadArchive("its archive is gone, or has another size than its record says")

    def _take_lease(self) -> None:
        """Write the lease of this machine. It has none afterwards where another one has written later."""
        lease: dict[str, object] = {"host": socket.gethostname(), "id": os.urandom(8).hex(), "renewed": 0}
        self._lease, self._renewed = lease, self.store.now()
        try:
            self._write_lease(lease, self._question())
        except OSError:
            self._lease = None
            raise
        # Stores have no common way to make a file only where none is. Of machines that write at the same time, the last
        # one has the lease. A machine that has read before, and writes later than this pause, builds too.
        self._pause(_SETTLED)
        found = self._read_lease(self._question())
        if found is None or found.get("id") != lease["id"]:
            self._lease = None

    def _read_lease(self, seconds: float, *, on_wait: Callable[[], None] | None = None) -> dict[str, object] | None:
        content = self._read(f"{self._stem}.lease", _LEASE_LIMIT, seconds, on_wait=on_wait)
        return value_of(content, dict[str, object])

    def _write_lease(self, lease: dict[str, object], seconds: float) -> None:
        self.store.folder.write(
            f"{self._stem}.lease",
            json.dumps(lease).encode(),
            seconds=seconds,
            sweeps=False,
            on_wait=self.cancellation.raise_if_requested,
        )

    def _read(
        self, name: str, limit: Limit, seconds: float, *, on_wait: Callable[[], None] | None = None
    ) -> bytes | None:
        on_wait = on_wait or self.cancellation.raise_if_requested
        return self.store.folder.read(name, seconds=seconds, limit=limit, on_wait=on_wait)

    def _refuse(self, error: VirtualenvError) -> None:
        if str(error) not in self._refused:  # it is read again and again while another machine builds
            self._refused[str(error)] = None
            if not self.store.is_required:
                self.warn(f"The virtualenv of {self.store.folder} is not used: {error}.")

    def _give_up(self, error: Exception) -> None:
        if self.store.is_required:
            raise VirtualenvError(f"{self.store.folder} cannot be used: {error}.") from None
        self._pushes = False  # what does not answer now is not waited for once more
        self.close()
        self.warn(f"{self.store.folder} cannot be used: {error}. The virtualenv is built here.")

    def _left(self) -> float:
        return max(self._deadline - self.store.now(), 0.0)

    def _question(self) -> float:
        return min(_LONGEST_QUESTION, max(self._left(), 1.0))

    def _pause(self, seconds: float) -> None:
        self.store.sleep(seconds)
        self._look_up()

    def _look_up(self) -> None:
        self.cancellation.raise_if_requested()
        if self.store.now() - self._ticked >= _TURN:  # files are unpacked by the thousand
            self._ticked = self.store.now()
            if self._on_tick is not None:
                self._on_tick()
            self.renew()


def _is_signed(content: bytes) -> bool:
    try:
        return bool(opened(content)[1])
    except BadArchive:
        return False


def _archive_name(stem: str, sha256: str) -> str:
    return f"{stem}-{sha256[:16]}.tar.zst"


def _shown(text: object) -> str:
    """Return what another machine says of itself as a part of one line of the log."""
    return "".join(letter for letter in str(text)[:_LONGEST_WORD] if letter.isprintable())


def _size(size: int) -> str:
    return f"{size / _MEGABYTE:.1f} MB"
