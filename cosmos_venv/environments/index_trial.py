"""Would an installer find what it needs? Asked by itself, as a dry run, with all that it is configured to."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosmos_venv.environments import credentials, sources
from cosmos_venv.environments.builder import environment_of_installation
from cosmos_venv.environments.bundled_pip import bundled_pip
from cosmos_venv.environments.index_failure import index_failure
from cosmos_venv.environments.installer import Installer, InstallerPreference, choose_installer
from cosmos_venv.environments.interpreter import Interpreter
from cosmos_venv.environments.own_pip import own_pip
from cosmos_venv.guarded import run_guarded
from cosmos_venv.scratch import scratch_folder

_IMPATIENT = {"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "10", "UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "10"}
_LAST_LINES = 4
_WANTED = "dbt-core"  # no environment does without


@dataclass(frozen=True, kw_only=True)
class IndexTrial:
    """What came of it. No credential is in it.

    :param installer: its name, and why it was chosen.
    :param hosts: of the indexes, and folders, where it looks.
    :param problem: its last words, or why it was not asked; None: it has found dbt-core.
    :param is_asked: whether it was.
    """

    installer: str
    hosts: tuple[str, ...]
    problem: str | None
    is_asked: bool = True


def try_index(preference: InstallerPreference, environ: Mapping[str, str], *, within: float) -> IndexTrial:
    """Let the installer that would build look for dbt-core. Nothing is installed; a package may be downloaded.

    :param within: seconds that it may take.
    :raises VirtualenvBuildError: when the installer that was asked for is not there.
    """
    installer = choose_installer(preference, (), environ)
    name = f"{installer.name} ({installer.reason})"
    hosts = sources.hosts(installer, (), (_WANTED,), environ)
    if installer.command:
        return IndexTrial(installer=name, hosts=hosts, problem="it builds as it likes", is_asked=False)
    with scratch_folder("cosmos-venv-index-") as scratch:
        env = environment_of_installation(installer, environ, scratch)
        command = _command(installer, scratch, env)
        if command is None:
            nobody = "pip comes with each environment only"
            return IndexTrial(installer=name, hosts=hosts, problem=nobody, is_asked=False)
        problem = _problem(command, env | _IMPATIENT, within, hosts)
    return IndexTrial(installer=name, hosts=hosts, problem=problem)


def _command(installer: Installer, scratch: Path, env: Mapping[str, str]) -> list[str] | None:
    words = ["install", "--dry-run", "--no-deps", "--target", str(scratch / "target"), _WANTED]
    if installer.settings is not None:
        return [installer.uv, "pip", *words[:1], "--python", sys.executable, *installer.settings.words, *words[1:]]
    runner = own_pip() or bundled_pip(Interpreter.of(), scratch, env, ask=str)
    return None if runner is None else [sys.executable, "-I", str(runner), *words, "--ignore-installed"]


class _TooLong(Exception):
    pass


def _problem(command: list[str], env: Mapping[str, str], within: float, hosts: Sequence[str]) -> str | None:
    began = time.monotonic()
    deadline = began + within

    def tick() -> None:
        if time.monotonic() > deadline:
            raise _TooLong

    try:
        done = run_guarded(command, env=env, on_tick=tick)
    except _TooLong:
        return f"it was not done within {within:.0f} s"
    except OSError as error:
        return f"it cannot be started: {error}"
    if not done.returncode:
        return None
    said = [line.strip() for line in done.lines if line.strip()]
    if reason := index_failure(said, hosts=hosts, seconds=time.monotonic() - began):
        return credentials.mask(reason)
    return credentials.mask(" ".join(said[-_LAST_LINES:]) or f"exit code {done.returncode}")
