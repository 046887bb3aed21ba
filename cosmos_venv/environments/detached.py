"""A build that outlives who asked for it: Airflow cuts the import of a DAG file after 30 s, an installation may not.

``build_detached`` is the asking side. Run as a module this is the builder: it reads its order from standard input,
holds the lock and its record in its own name, and leaves a message when it fails.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.environments import credentials
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import (
    CommandKilled,
    CosmosValueError,
    VirtualenvBeingBuilt,
    VirtualenvBuildError,
    VirtualenvError,
)
from cosmos_venv.guarded import Cancellation

if TYPE_CHECKING:
    from cosmos_venv.environments.installer import InstallerPreference

RETRY_AFTER = 60.0
_TURN = 0.02
_PRIVATE = 0o600


def build_detached(
    directory: Path,
    spec: EnvironmentSpec,
    *,
    preference: InstallerPreference = "auto",
    max_tries: int,
    wait: float | None,
    report: Callable[[str], None],
) -> None:
    """Return once the environment is ready; see to it that a builder process of its own is at work until then.

    :param directory: the user's ``virtualenv_dir``.
    :param wait: seconds to wait at most; None: until the builder has ended.
    :raises VirtualenvBeingBuilt: when the time is over. The builder goes on.
    :raises VirtualenvBuildError: with the builder's message, when it failed now or less than a minute ago.
    :raises CosmosValueError: when ``virtualenv_dir`` is a file.
    :raises VirtualenvError: when it cannot be written.
    """
    store = EnvironmentStore(directory)
    if _is_ready(store, spec):
        return
    with store.naming_the_directory():
        desk = _Desk.of(store, spec.digest)
    order = _Order(directory=str(store.directory), spec=spec, preference=preference, max_tries=max_tries)
    deadline = math.inf if wait is None else time.monotonic() + wait
    has_started = False
    while True:
        with desk.claim() as claim:
            if claim is not None:
                if _is_ready(store, spec):
                    return
                desk.raise_recent_failure()
                if has_started:
                    raise VirtualenvBuildError(f"The builder of {spec} ended without a word; its log is {desk.log}.")
                desk.start(claim, order)
                has_started = True
                report(f"The virtualenv for {spec} is being built by a process of its own; its log is {desk.log}.")
        if time.monotonic() >= deadline:
            raise VirtualenvBeingBuilt(desk.progress(str(spec)))
        time.sleep(_TURN)


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What a builder is told. It may hold credentials: it travels by a pipe, and is never written down."""

    directory: str
    spec: EnvironmentSpec
    preference: InstallerPreference
    max_tries: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> _Order:
        data = json.loads(text)
        return cls(**{**data, "spec": EnvironmentSpec.from_dict(data["spec"])})


@dataclass(frozen=True, kw_only=True)
class _Desk:
    """The files through which callers and the builder of one digest know of each other."""

    claim_file: Path
    failure: Path
    log: Path

    @classmethod
    def of(cls, store: EnvironmentStore, digest: str) -> _Desk:
        folder = store.root / "detached"
        folder.mkdir(parents=True, exist_ok=True)
        return cls(
            claim_file=folder / f"{digest}.flock", failure=folder / f"{digest}.failed", log=folder / f"{digest}.log"
        )

    @contextmanager
    def claim(self) -> Iterator[int | None]:
        """The right to start a builder: a locked descriptor, which the builder inherits; None while one is at work."""
        descriptor = os.open(self.claim_file, os.O_RDWR | os.O_CREAT, _PRIVATE)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield descriptor
        finally:
            os.close(descriptor)  # never unlocked: the builder holds the same lock

    def raise_recent_failure(self) -> None:
        """Raises what the last builder said, unless that is long ago."""
        try:
            age = time.time() - self.failure.stat().st_mtime
            message = self.failure.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        if 0 <= age < RETRY_AFTER:
            raise VirtualenvBuildError(f"{message}\n(Tried {age:.0f} s ago, again in {RETRY_AFTER - age:.0f} s.)")

    def start(self, claim: int, order: _Order) -> None:
        """Start the builder. It gets its order by a pipe: a credential in it is on no command line and no disk."""
        self.failure.unlink(missing_ok=True)
        _started[:] = [builder for builder in _started if builder.poll() is None]
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
        try:
            builder = subprocess.Popen(
                [sys.executable, "-m", __name__, str(claim)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_builder_environment(os.environ),
                pass_fds=[claim],
                start_new_session=True,
            )
        finally:
            os.close(log)
        os.ftruncate(claim, 0)
        os.pwrite(claim, json.dumps({"pid": builder.pid, "since": time.time()}).encode(), 0)
        _started.append(builder)
        _hand_over(builder, order.to_json().encode())

    def progress(self, what: str) -> str:
        """What a user reads whose parse may wait no longer."""
        try:
            told = json.loads(self.claim_file.read_text(encoding="utf-8"))
            by = f"for {time.time() - told['since']:.0f} s by process {told['pid']}"
        except (OSError, ValueError, KeyError):
            by = "by a process that has just started"
        return (
            f"The virtualenv for {what} is being built {by}, log file {self.log}; the next parse will find it. "
            "cosmos-venv env build DAGFILE builds it beforehand."
        )


# Held so that subprocess does not complain of them; each call collects those that have ended.
_started: list[subprocess.Popen[bytes]] = []


def _hand_over(builder: subprocess.Popen[bytes], order: bytes) -> None:
    assert builder.stdin is not None  # noqa: S101 - for the type checker: PIPE was asked for
    try:
        with builder.stdin as pipe:
            pipe.write(order)
    except BrokenPipeError:
        pass  # it has ended already; whoever looks next finds no environment, and its log


def _builder_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's variables, and where this package is: it may be importable by ``sys.path`` alone."""
    package_root = str(Path(__file__).resolve().parents[2])
    inherited = [entry for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return {**environ, "PYTHONPATH": os.pathsep.join([*inherited, package_root])}


def _is_ready(store: EnvironmentStore, spec: EnvironmentSpec) -> bool:
    environment = store.find(spec)
    if environment is not None:
        environment.close()
    return environment is not None


def _build(order: _Order, cancellation: Cancellation) -> str:
    """Build what was ordered. Returns what went wrong; empty when nothing did."""
    try:
        with EnvironmentStore(Path(order.directory)).open(
            order.spec, preference=order.preference, max_tries=order.max_tries, cancellation=cancellation, report=_say
        ):
            return ""
    except (VirtualenvError, CosmosValueError) as error:
        return credentials.mask(str(error))
    except CommandKilled:
        return ""  # whoever ended it may start another at once
    except Exception as error:  # noqa: BLE001 - whatever it is, who asked must learn of it
        return credentials.mask(f"{type(error).__name__}: {error}")


def _say(line: str) -> None:
    print(line, flush=True)


def _leave_message(failure: Path, message: str) -> None:
    apart = failure.with_name(f".{failure.name}.{os.getpid()}")
    apart.write_text(message, encoding="utf-8")
    apart.replace(failure)


def main(arguments: list[str]) -> int:
    """The builder: argument 0 is the descriptor of the claim, standard input the order as JSON."""
    # Inherited, it would make an installer that is still dying look like a builder at work.
    os.set_inheritable(int(arguments[0]), False)
    cancellation = Cancellation()
    signal.signal(signal.SIGTERM, lambda *_: cancellation.request())
    try:
        order = _Order.from_json(sys.stdin.read())
    except ValueError:
        _say("Who asked for this build was gone before it had said what to build.")
        return 1
    message = _build(order, cancellation)
    if message:
        _say(message)
        desk = _Desk.of(EnvironmentStore(Path(order.directory)), order.spec.digest)
        _leave_message(desk.failure, message)
    return 1 if message else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
