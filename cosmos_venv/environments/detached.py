"""A build that outlives who asked for it: Airflow cuts the import of a DAG file after 30 s, an installation may not.

``build_detached`` is the asking side, ``main`` the builder: it reads its request from standard input, holds the lock
and its record in its own name, and leaves a message when it fails.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.environments import credentials
from cosmos_venv.environments.builder_files import BuilderFiles
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.environments.upkeep import Upkeep
from cosmos_venv.exceptions import (
    CommandKilled,
    CosmosValueError,
    VirtualenvBeingBuilt,
    VirtualenvBuildError,
    VirtualenvError,
)
from cosmos_venv.guarded import Cancellation
from cosmos_venv.own_files import open_own

if TYPE_CHECKING:
    from cosmos_venv.environments.installer import InstallerPreference

_TURN = 0.02
_PRIVATE = 0o600

# The process that is started leaves the builder behind and is collected at once: the builder is nobody's child, so it
# becomes no zombie of a DAG processor that lives on, and nothing that ends a DAG processor's children finds it.
# Not -m: that looks for modules in the working directory first, where a user's random.py may lie. This package may be
# importable by sys.path alone; its folder comes last, for it may hold anything.
_START = """
import os, sys
package_root, pid_file, claim = sys.argv[1:]
builder = os.fork()
if builder:
    file = os.open(pid_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(file, str(builder).encode())
    os._exit(0)
os.setsid()
sys.path[:] = [entry for entry in sys.path if entry]
if package_root not in sys.path:
    sys.path.append(package_root)
from cosmos_venv.environments.detached import main
sys.exit(main(int(claim)))
"""


def build_detached(
    directory: Path,
    spec: EnvironmentSpec,
    *,
    preference: InstallerPreference = "auto",
    max_tries: int,
    directory_mode: int | None = None,
    wait: float | None,
    report: Callable[[str], None],
    upkeep: Upkeep | None = None,
) -> None:
    """Return once the environment is ready; see to it that a builder process of its own is at work until then.

    :param directory: the user's ``virtualenv_dir``.
    :param directory_mode: permissions of directories that are made.
    :param wait: seconds to wait at most; None: until the builder has ended.
    :param upkeep: what the builder does to the directory's other environments afterwards.
    :raises VirtualenvBeingBuilt: when the time is over. The builder goes on.
    :raises VirtualenvBuildError: with the builder's message, when it failed now or less than a minute ago.
    :raises CosmosValueError: when ``virtualenv_dir`` is a file.
    :raises VirtualenvError: when it cannot be written.
    """
    store = EnvironmentStore(directory, directory_mode=directory_mode)
    if _is_ready(store, spec):
        return
    request = _BuildRequest(
        directory=str(store.directory),
        directory_mode=directory_mode,
        spec=spec,
        preference=preference,
        max_tries=max_tries,
        upkeep=upkeep or Upkeep(),
    )
    with store.naming_the_directory():
        files = BuilderFiles.of(store, spec.digest)
        _wait_for_builder(store, files, request, deadline=_after(wait), report=report)


def _wait_for_builder(
    store: EnvironmentStore,
    files: BuilderFiles,
    request: _BuildRequest,
    *,
    deadline: float,
    report: Callable[[str], None],
) -> None:
    spec = request.spec
    has_started = False
    while True:
        with files.claim() as claim:
            if claim is not None:
                if _is_ready(store, spec):
                    return
                files.raise_recent_failure()
                if has_started:
                    raise VirtualenvBuildError(f"The builder of {spec} ended without a word; its log is {files.log}.")
                _start_builder(files, claim, request)
                has_started = True
                report(f"The virtualenv for {spec} is being built by a process of its own; its log is {files.log}.")
        if time.monotonic() >= deadline:
            raise VirtualenvBeingBuilt(files.progress(str(spec)))
        time.sleep(_TURN)


def _after(wait: float | None) -> float:
    return math.inf if wait is None else time.monotonic() + wait


@dataclass(frozen=True, kw_only=True)
class _BuildRequest:
    """What a builder is told. It may hold credentials: it travels by a pipe, and is never written down."""

    directory: str
    directory_mode: int | None
    spec: EnvironmentSpec
    preference: InstallerPreference
    max_tries: int
    upkeep: Upkeep

    @property
    def store(self) -> EnvironmentStore:
        return EnvironmentStore(Path(self.directory), directory_mode=self.directory_mode)

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "spec": self.spec.as_dict()})

    @classmethod
    def from_json(cls, text: str) -> _BuildRequest:
        data = json.loads(text)
        data["spec"] = EnvironmentSpec.from_dict(data["spec"])
        data["upkeep"] = Upkeep.from_dict(data["upkeep"])
        if isinstance(handed_down := data["preference"], dict):
            from cosmos_venv.environments.installer import OtherInstaller

            data["preference"] = OtherInstaller(name=handed_down["name"], command=tuple(handed_down["command"]))
        return cls(**data)


def _start_builder(files: BuilderFiles, claim: int, request: _BuildRequest) -> None:
    """Start the builder. It gets its request by a pipe: a credential in it is on no command line and no disk."""
    files.clear()
    package_root = Path(__file__).resolve().parents[2]
    log = open_own(files.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
    try:
        starter = subprocess.Popen(
            [sys.executable, "-c", _START, str(package_root), str(files.pid_file), str(claim)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[claim],
            start_new_session=True,
        )
    except OSError as error:
        raise VirtualenvBuildError(f"No builder can be started with {sys.executable!r}: {error.strerror}.") from error
    finally:
        os.close(log)
    with starter:
        _hand_over(starter, request.to_json().encode())


def _hand_over(starter: subprocess.Popen[bytes], request: bytes) -> None:
    assert starter.stdin is not None  # noqa: S101 - for the type checker: PIPE was asked for
    try:
        with starter.stdin as pipe:
            pipe.write(request)
    except BrokenPipeError:
        pass  # the builder has ended already; whoever looks next finds no environment, and its log


def _is_ready(store: EnvironmentStore, spec: EnvironmentSpec) -> bool:
    environment = store.find(spec)
    if environment is not None:
        environment.close()
    return environment is not None


def _build(request: _BuildRequest, cancellation: Cancellation) -> str:
    """Build what was asked for. Returns what went wrong; empty when nothing did."""
    try:
        with request.store.open(
            request.spec,
            preference=request.preference,
            max_tries=request.max_tries,
            cancellation=cancellation,
            report=_say,
            upkeep=request.upkeep,
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


def main(claim: int) -> int:
    """The builder: builds what standard input asks for, as JSON.

    :param claim: the locked descriptor that says that a builder is at work.
    :returns: its exit status.
    """
    # Inherited, it would make an installer that is still dying look like a builder at work.
    os.set_inheritable(claim, False)
    cancellation = Cancellation()
    signal.signal(signal.SIGTERM, lambda *_: cancellation.request())
    try:
        request = _BuildRequest.from_json(sys.stdin.read())
    except ValueError:
        _say("Who asked for this build was gone before it had said what to build.")
        return 1
    message = _build(request, cancellation)
    if message:
        BuilderFiles.of(request.store, request.spec.digest).leave_message(message)
        _say(message)  # last: its log may be on a full disk
    return 1 if message else 0
