"""The command ``cosmos-venv doctor``: it tries what the product relies on, and says how to mend what does not work.

A check is a function that takes the examined files and directories and yields findings. Each check stands in ``CHECKS``
under its name.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from cosmos_venv.cli.doctor.directories import check_directories, check_locks
from cosmos_venv.cli.doctor.finding import Examined, Finding, Outcome
from cosmos_venv.cli.output import Result, steps
from cosmos_venv.cli.parsing import absolute_path, add_action, existing_path
from cosmos_venv.credentials import mask
from cosmos_venv.exceptions import CosmosValueError, NotWarm, VirtualenvError

if TYPE_CHECKING:
    from cosmos_venv.cli.parsing import Actions
    from cosmos_venv.environments.installers.installer import InstallerPreference
    from cosmos_venv.environments.remote_store import RemoteStore

_DESCRIPTION = (
    "Tests everything that cosmos-venv needs, and says how to repair what does not work: Airflow and its settings, "
    "the directories of environments (owner, permissions, file system, free space), their locks, "
    "the installer and its index, the sockets of warm servers, the remote store, and DAG files that Airflow ignores. "
    "DAG files are not imported, and files that were made for a test are removed. Exit code 1: a check failed; a "
    "warning is no failure."
)

_LONGEST_TRIAL = 60.0  # seconds for the installer
_LAST_LINES = 4
_IMPATIENT = {"PIP_RETRIES": "0", "PIP_TIMEOUT": "10", "UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "10"}
_WANTED = "dbt-core"  # no environment does without
_PROBE = "doctor-0123456789ab"  # nearly as long as the name of a server's socket
_LONGEST_ANSWER = 10.0  # seconds that the remote store may take, as in a task
_SMALL = 1_000  # bytes of the file that is tried in the remote store
_COLORS = {"ok": "green", "warning": "yellow", "failed": "red"}
_MAKES_DBT_DAGS = re.compile(rb"\bcosmos(?:_venv)?\b.*\bDbt(?:Dag|TaskGroup)\b", re.DOTALL)


def add_to(subjects: Actions) -> None:
    """Add ``cosmos-venv doctor``.

    :param subjects: the sub-commands of ``cosmos-venv``.
    """
    parser = add_action(subjects, "doctor", "test everything that cosmos-venv needs", _DESCRIPTION, doctor)
    parser.add_argument("dagfiles", nargs="*", type=existing_path, metavar="DAGFILE", help="a Python file with DAGs")
    parser.add_argument(
        "--dir",
        action="append",
        default=[],
        type=absolute_path,
        metavar="DIR",
        help="a virtualenv_dir; may be repeated. Those of [cosmos_venv] virtualenv_search_path are always checked",
    )
    parser.add_argument(
        "--only", action="append", choices=CHECKS, metavar="CHECK", help=f"one of {', '.join(CHECKS)}; may be repeated"
    )


def doctor(options: argparse.Namespace) -> Result:
    """Run the checks. The result is wrong when one has failed.

    :param options: the command line.
    """
    found: list[tuple[str, Finding]] = []
    with steps("examining") as step:
        examined = _examined(options)
        for name in dict.fromkeys(options.only or CHECKS):
            step.begin(name)
            # The address of a proxy and the installer's words may hold a password.
            found += [(name, Finding(*map(mask, each))) for each in CHECKS[name](examined)]  # type: ignore[arg-type]
    return Result(
        data={"findings": [{"check": name, **each._asdict()} for name, each in found]},
        shown=[
            Text.assemble(
                (f"{each.outcome:<8}", _COLORS[each.outcome]), f"{name}  {each.subject}: {each.text} {each.way_out}"
            )
            for name, each in found
        ],
        is_wrong=any(each.outcome == "failed" for _, each in found),
    )


def _examined(options: argparse.Namespace) -> Examined:
    from cosmos_venv.managed.resolve import search_path

    try:
        searched = [store.directory for store in search_path()]
    except CosmosValueError:
        searched = []  # the check of the settings tells it
    return Examined(
        files=tuple(options.dagfiles),
        directories=tuple(dict.fromkeys([*options.dir, *searched])),
        searched=frozenset(searched) - set(options.dir),
    )


def check_airflow(_: Examined) -> Iterator[Finding]:
    """Yield the releases. Where Airflow is too old, importing it here says so."""
    from cosmos_venv.compat import AIRFLOW_VERSION
    from cosmos_venv.version import __version__

    yield Finding("Airflow", "ok", f"Airflow {AIRFLOW_VERSION}, cosmos-venv {__version__}.")


def check_settings(_: Examined) -> Iterator[Finding]:
    """Yield a finding for each option that has no effect or is refused, else one finding."""
    found = [*_unknown_options(), *_refused_values()]
    yield from found or [
        Finding("[cosmos_venv]", "ok", "Every option that is set is known, and its value is possible.")
    ]


def _unknown_options() -> Iterator[Finding]:
    from cosmos_venv import settings
    from cosmos_venv.compat import configured_options
    from cosmos_venv.settings.table import SETTINGS

    known = {*SETTINGS, *(each.older_name for each in SETTINGS.values() if each.older_name)}
    for section in (settings.SECTION, settings.COSMOS_SECTION):
        for name in sorted(set(configured_options(section)) - known):
            near = difflib.get_close_matches(name, known, n=1)
            way_out = f"Did you mean {near[0]}?" if near else "Remove it, unless something else reads it."
            text = "cosmos-venv has no such option, so what is set there does nothing."
            yield Finding(f"[{section}] {name}", "warning", text, way_out)


def _refused_values() -> Iterator[Finding]:
    from cosmos_venv import settings
    from cosmos_venv.files.permissions import directory_mode
    from cosmos_venv.managed import resolve
    from cosmos_venv.settings.table import SETTINGS

    looks: list[Callable[[], object]] = [partial(getattr, settings, name) for name in SETTINGS]
    looks += [resolve.search_path, lambda: directory_mode(settings.virtualenv_dir_mode)]
    refused: dict[str, None] = {}
    for look in looks:
        try:
            look()
        except CosmosValueError as error:
            refused[str(error)] = None
    for text in refused:
        yield Finding(f"[{settings.SECTION}]", "failed", text, "Correct it, or remove it for the default.")


def check_index(_: Examined) -> Iterator[Finding]:
    """Yield one finding: which installer builds, and whether it finds dbt-core where it is configured to look."""
    from cosmos_venv.managed.resolve import installer

    try:
        yield try_index(installer(), os.environ)
    except (VirtualenvError, CosmosValueError) as error:
        yield Finding("installer", "failed", str(error), "Install uv (cosmos-venv[uv]) or pip.")


def try_index(preference: InstallerPreference, environ: Mapping[str, str]) -> Finding:
    """Let the installer that would build look for dbt-core. Nothing is installed; a package may be downloaded.

    :param preference: which installer would build.
    :param environ: the worker's environment variables.
    :raises VirtualenvBuildError: when the installer that was asked for is not there.
    :raises CosmosValueError: naming a setting that the installer cannot be told.
    """
    from cosmos_venv.environments.installers.installer import InstallArguments, choose_installer, installer_environment
    from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
    from cosmos_venv.processes.guarded_process import run_guarded
    from cosmos_venv.processes.scratch import scratch_folder

    spec = EnvironmentSpec(requirements=(_WANTED,), interpreter=Interpreter.of())
    installer = choose_installer(preference, spec, environ)
    arguments = InstallArguments.of(spec, installer, environ)
    until = time.monotonic() + _LONGEST_TRIAL

    def give_up_in_time() -> None:
        if time.monotonic() > until:
            raise TimeoutError(f"it was not done within {_LONGEST_TRIAL:.0f} s")

    with scratch_folder("cosmos-venv-index-") as scratch:
        tool = [installer.uv, "pip"] if installer.uv else [sys.executable, "-I", "-m", "pip"]
        python = ["--python", sys.executable] if installer.uv else ["--ignore-installed"]
        words = [*python, "--dry-run", "--no-deps", "--target", str(scratch / "target"), *arguments.words, _WANTED]
        variables = {**installer_environment(environ, scratch), **arguments.variables, **_IMPATIENT}
        try:
            done = run_guarded([*tool, "install", *words], env=variables, on_tick=give_up_in_time)
            said = " ".join(arguments.mask(line.strip()) for line in done.lines[-_LAST_LINES:])
            problem = (said or f"exit code {done.returncode}") if done.returncode else ""
        except OSError as error:
            problem = str(error)
    subject = f"{installer.name} ({installer.reason})"
    places = ", ".join(arguments.sources) or "where it is configured to look"
    if not problem:
        return Finding(subject, "ok", f"dbt-core can be had from {places}.")
    way_out = "See that this host reaches it, and what PIP_…, UV_…, HTTPS_PROXY, pip.conf and uv.toml say."
    return Finding(subject, "failed", f"dbt-core cannot be had from {places}: {problem}", way_out)


def check_sockets(_: Examined) -> Iterator[Finding]:
    """Yield one finding: whether a warm server could have its socket on this host."""
    from cosmos_venv import settings
    from cosmos_venv.dbt.warm.servers import folder_for

    try:
        choices = {str(settings.virtualenv_warm_dbt), str(settings.local_warm_dbt)}
    except CosmosValueError:
        return  # the check of the settings tells it
    outcome: Outcome = "failed" if "require" in choices else "warning" if "auto" in choices else "ok"
    if not (sys.platform.startswith("linux") and hasattr(os, "pidfd_open")):
        way_out = "Set virtualenv_warm_dbt and local_warm_dbt to off."
        yield Finding(sys.platform, outcome, "Only Linux starts dbt warm.", way_out)
        return
    try:
        folder = folder_for(_PROBE)
    except NotWarm as error:
        way_out = "Set XDG_RUNTIME_DIR or TMPDIR to a short path of a folder that is this user's alone (mode 0700)."
        yield Finding("sockets", outcome, f"No server could stand here: {error}.", way_out)
    else:
        yield Finding(str(folder), "ok", "A server could stand here.")


def check_remote(_: Examined) -> Iterator[Finding]:
    """Yield findings about the remote store; none where none is configured."""
    from cosmos_venv import settings

    if not settings.remote_environment_dir:
        return
    from cosmos_venv.environments.archive import zstd
    from cosmos_venv.managed.remote_environments import configured_store
    from cosmos_venv.remote.download_cache import RemoteError

    try:
        store = configured_store()
        zstd()
    except (CosmosValueError, VirtualenvError, RemoteError) as error:
        way_out = (
            "Tasks find no environment there until all workers have cosmos-venv[remote], and a key that the user of "
            "the tasks may read (airflow connections add ID --conn-type generic --conn-password KEY)."
        )
        yield Finding("[cosmos_venv] remote_environment_dir", "failed", f"It cannot be used: {error}", way_out)
    else:
        yield _try_remote(store)


def _try_remote(store: RemoteStore) -> Finding:
    """What came of writing, reading and removing a small file; of reading alone where tasks put nothing there."""
    from cosmos_venv.files.read_limits import Limit

    folder, seconds = store.folder, _LONGEST_ANSWER
    name = f"doctor/{os.urandom(8).hex()}"  # no environment has such a name, and no other doctor has this one
    content = b"written by cosmos-venv doctor" if store.may_push else None
    try:
        if content is not None:
            folder.write(name, content, seconds=seconds, on_wait=_nothing)
        found = folder.read(name, seconds=seconds, limit=Limit(most=_SMALL), on_wait=_nothing)
        if content is not None:
            folder.remove(name, seconds=seconds)
        if found != content:
            raise OSError("what was just written there is not what is read")
    except (OSError, ValueError) as error:
        way_out = (
            "Tasks build for themselves. See the connection of remote_environment_dir_conn_id, and what it may do "
            "below this folder: read, write and remove (with remote_environment_push off, read)."
        )
        return Finding(str(folder), "failed", f"A small file cannot be written, read and removed: {error}.", way_out)
    done = "read, written and removed" if store.may_push else "read; remote_environment_push is off"
    return Finding(str(folder), "ok", f"Files can be {done}.")


def _nothing() -> None:
    """Wait."""


def check_discovery(examined: Examined) -> Iterator[Finding]:
    """Yield a finding for each file: failed where it makes a dbt DAG and lacks a word that Airflow looks for.

    :param examined: its files are looked at.
    """
    from cosmos_venv.cli.dag_files import FIND_IT, why_passed_over

    for path in examined.files:
        try:
            content = path.read_bytes()
        except OSError as error:
            yield Finding(str(path), "failed", f"It cannot be read: {error.strerror}.", "Let Airflow's user read it.")
            continue
        passed_over = why_passed_over(content)
        if not passed_over:
            yield Finding(str(path), "ok", "Airflow looks into it.")
        elif _MAKES_DBT_DAGS.search(content):
            yield Finding(str(path), "failed", passed_over, FIND_IT)
        else:
            yield Finding(str(path), "ok", f"It makes no dbt DAG. {passed_over}")


CHECKS: dict[str, Callable[[Examined], Iterator[Finding]]] = {
    "airflow": check_airflow,
    "settings": check_settings,
    "directory": check_directories,
    "locks": check_locks,
    "index": check_index,
    "sockets": check_sockets,
    "remote": check_remote,
    "discovery": check_discovery,
}
