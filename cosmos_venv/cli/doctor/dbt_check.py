"""Checks of dbt: whether the package index answers, and whether dbt can start warm on this host.

The index is asked as a build would ask it, and nothing is installed. Of a warm start the system is tried, a folder for
sockets, and a socket in it that answers.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.cli.doctor.check_result import CheckResult, Examined, Outcome
from cosmos_venv.exceptions import CosmosValueError, NotWarm, VirtualenvError

if TYPE_CHECKING:
    from cosmos_venv.environments.installers.choice import InstallerPreference

_LONGEST = 60.0
_LAST_LINES = 4
_IMPATIENT = {"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "10", "UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "10"}
_WANTED = "dbt-core"  # no environment does without


def index_answers(_: Examined) -> Iterator[CheckResult]:
    """Yield one result: which installer builds, and whether it finds dbt-core where it is configured to look."""
    from cosmos_venv.managed.from_settings import installer

    try:
        tried = try_index(installer(), os.environ, within=_LONGEST)
    except (VirtualenvError, CosmosValueError) as error:
        yield _failed("installer", str(error), "Install uv (cosmos-venv[uv]) or pip.")
        return
    places = ", ".join(tried.hosts) or "where it is configured to look"
    if tried.problem is None:
        text = f"dbt-core can be had from {places}."
        yield CheckResult(check="index", subject=tried.installer, outcome="ok", text=text)
    else:
        text = f"dbt-core cannot be had from {places}: {tried.problem}"
        way_out = "See that this host reaches it, and what PIP_…, UV_…, HTTPS_PROXY, pip.conf and uv.toml say."
        yield _failed(tried.installer, text, way_out)


@dataclass(frozen=True, kw_only=True)
class IndexTrial:
    """The outcome of a dry run. No credential is in it.

    :param installer: its name, and why it was chosen.
    :param hosts: of the indexes, and folders, where it looks.
    :param problem: the last words of the installer; None: it has found dbt-core.
    """

    installer: str
    hosts: tuple[str, ...]
    problem: str | None


def try_index(preference: InstallerPreference, environ: Mapping[str, str], *, within: float) -> IndexTrial:
    """Let the installer that would build look for dbt-core. Nothing is installed; a package may be downloaded.

    :param preference: which installer would build.
    :param environ: the worker's environment variables.
    :param within: seconds that it may take.
    :raises VirtualenvBuildError: when the installer that was asked for is not there.
    :raises CosmosValueError: naming a setting that the installer cannot be told.
    """
    from cosmos_venv.environments.installers.choice import choose_installer, installer_environment
    from cosmos_venv.environments.installers.command_line import InstallArguments
    from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
    from cosmos_venv.processes.guarded_process import run_guarded
    from cosmos_venv.processes.scratch import scratch_folder

    spec = EnvironmentSpec(requirements=(_WANTED,), interpreter=Interpreter.of())
    installer = choose_installer(preference, spec, environ)
    arguments = InstallArguments.of(spec, installer, environ)
    began = time.monotonic()

    def give_up_in_time() -> None:
        if time.monotonic() - began > within:
            raise TimeoutError(f"it was not done within {within:.0f} s")

    with scratch_folder("cosmos-venv-index-") as scratch:
        tool = [installer.uv, "pip"] if installer.uv else [sys.executable, "-I", "-m", "pip"]
        python = ["--python", sys.executable] if installer.uv else ["--ignore-installed"]
        words = [*python, "--dry-run", "--no-deps", "--target", str(scratch / "target"), *arguments.words, _WANTED]
        variables = {**installer_environment(environ, scratch), **_IMPATIENT, **arguments.variables}
        try:
            done = run_guarded([*tool, "install", *words], env=variables, on_tick=give_up_in_time)
            said = " ".join(arguments.mask(line.strip()) for line in done.lines[-_LAST_LINES:])
            problem = (said or f"exit code {done.returncode}") if done.returncode else None
        except OSError as error:
            problem = str(error)
    return IndexTrial(installer=f"{installer.name} ({installer.reason})", hosts=arguments.sources, problem=problem)


def _failed(subject: str, text: str, way_out: str) -> CheckResult:
    return CheckResult(check="index", subject=subject, outcome="failed", text=text, way_out=way_out)


_IMPOSSIBLE = "set to what it cannot be"
_GRAVITY = (_IMPOSSIBLE, "off", "auto", "require")
_PROBE = "doctor-0123456789ab"  # as long as the name of a server's socket, or nearly


def sockets_can_be_made(_: Examined) -> Iterator[CheckResult]:
    """Yield one result: whether a warm server could have its socket on this host."""
    from cosmos_venv.dbt.warm.servers import folder_for

    choices = _choices()
    choice = max(choices.values(), key=_GRAVITY.index)
    if not (sys.platform.startswith("linux") and hasattr(os, "pidfd_open")):
        yield _result(sys.platform, choice, "Only Linux starts dbt warm.", f"Set {' and '.join(choices)} to off.")
        return
    try:
        folder = folder_for(_PROBE)
        _connect_in(folder)
    except (NotWarm, OSError) as error:
        way_out = "Set XDG_RUNTIME_DIR or TMPDIR to a short path of a folder that is this user's alone (mode 0700)."
        yield _result("sockets", choice, f"No server could stand here: {error}.", way_out)
        return
    text = f"A server could stand here; {', '.join(f'{name} is {each}' for name, each in choices.items())}."
    yield CheckResult(check="sockets", subject=str(folder), outcome="ok", text=text)


def environments_can_be_served(examined: Examined) -> Iterator[CheckResult]:
    """Yield a result for each ready environment whose dbt cannot start warm, where warm starts are asked for.

    :param examined: its directories are looked at.
    """
    from cosmos_venv.dbt.native.engine import engine_of
    from cosmos_venv.dbt.warm.process import dbt_program
    from cosmos_venv.environments.maintenance.inventory import read_inventory
    from cosmos_venv.environments.store import EnvironmentStore

    choice = _choices()["virtualenv_warm_dbt"]
    for directory in examined.directories if choice in ("auto", "require") else ():
        try:
            builds = read_inventory(EnvironmentStore(directory))
        except (VirtualenvError, CosmosValueError):
            continue  # told by another check
        for each in builds:
            script = each.path / "bin/dbt"
            program = dbt_program(each.path, script, engine_of(script, recorded=each.engine))
            try:
                if each.state == "ready" and program.can_be_served:
                    _ = program.interpreter
            except (NotWarm, OSError) as error:
                yield _result(str(each.path), choice, f"Its dbt starts plain: {error}.", "Set warm_dbt='off' for it.")


def _choices() -> dict[str, str]:
    """Results of the settings, one for each."""
    from cosmos_venv import settings

    found = {}
    for name in ("virtualenv_warm_dbt", "local_warm_dbt"):
        try:
            found[name] = str(getattr(settings, name))
        except CosmosValueError:
            found[name] = _IMPOSSIBLE  # what it can be says another check
    return found


def _connect_in(folder: Path) -> None:
    path = folder / f"{_PROBE}.sock"
    with closing(socket.socket(socket.AF_UNIX)) as listener, closing(socket.socket(socket.AF_UNIX)) as client:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        try:
            listener.listen(1)
            client.connect(str(path))
        finally:
            path.unlink(missing_ok=True)


def _result(subject: str, choice: str, text: str, way_out: str) -> CheckResult:
    """The level that the setting gives to it."""
    outcomes: dict[str, Outcome] = {"require": "failed", "auto": "warning"}
    return CheckResult(check="sockets", subject=subject, outcome=outcomes.get(choice, "ok"), text=text, way_out=way_out)
