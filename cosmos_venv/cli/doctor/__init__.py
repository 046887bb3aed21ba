"""The command ``cosmos-venv doctor``: it tries what the product relies on, and says how to mend what does not work.

A check is a function that takes the examined files and directories and yields findings. Each check stands in ``CHECKS``
under its name.
"""

from __future__ import annotations

import argparse
import difflib
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.cli.doctor.directories import check_directories, check_locks
from cosmos_venv.cli.doctor.finding import Examined, Finding, Outcome
from cosmos_venv.cli.output import OK, WRONG, only_the_result_on_stdout, print_json, print_marked, steps, tell
from cosmos_venv.cli.parsing import absolute_path, add_action, existing_file
from cosmos_venv.credentials import mask
from cosmos_venv.exceptions import CosmosValueError, NotWarm, VirtualenvError

if TYPE_CHECKING:
    from cosmos_venv.cli.parsing import Actions
    from cosmos_venv.environments.installers.choice import InstallerPreference
    from cosmos_venv.environments.remote_store import RemoteStore

_DESCRIPTION = (
    "Tests everything that cosmos-venv needs, and says how to repair what does not work: Airflow and its settings, "
    "the directories of environments (owner, permissions, file system, free space), their locks (with two processes), "
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


def add_to(subjects: Actions) -> None:
    """Add ``cosmos-venv doctor``.

    :param subjects: the sub-commands of ``cosmos-venv``.
    """
    parser = add_action(subjects, "doctor", "test everything that cosmos-venv needs", _DESCRIPTION)
    parser.add_argument("dagfiles", nargs="*", type=existing_file, metavar="DAGFILE", help="a Python file with DAGs")
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
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    named = Examined(files=tuple(options.dagfiles), directories=tuple(options.dir))
    return doctor(named, only=tuple(dict.fromkeys(options.only or CHECKS)), as_json=options.json)


def doctor(named: Examined, *, only: Sequence[str], as_json: bool) -> int:
    """Run the checks.

    :param named: the subjects that a user has named; the directories of the search path are examined too.
    :param only: names in ``CHECKS``.
    :param as_json: whether stdout gets ``{"findings": [...]}`` in place of lines to read.
    :returns: the exit code, 1 when a check has failed.
    """
    found: list[tuple[str, Finding]] = []
    with steps("examining", len(only), as_json=as_json) as step, only_the_result_on_stdout():
        examined = _with_search_path(named)
        for name in only:
            step.begin(name)
            # The address of a proxy and the installer's words may hold a password.
            found += [(name, Finding(*map(mask, each))) for each in CHECKS[name](examined)]  # type: ignore[arg-type]
            step.end()
    if as_json:
        print_json({"findings": [{"check": name, **each._asdict()} for name, each in found]})
    else:
        colors = {"ok": "green", "warning": "yellow", "failed": "red"}
        print_marked([(each.outcome, colors[each.outcome], _line(name, each)) for name, each in found])
        counts = {outcome: sum(each.outcome == outcome for _, each in found) for outcome in colors}
        tell(", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count) or "nothing found", "dim")
    return WRONG if any(each.outcome == "failed" for _, each in found) else OK


def _line(check: str, found: Finding) -> str:
    return f"{check}  {found.subject}: {found.text} {found.way_out}".rstrip()


def _with_search_path(named: Examined) -> Examined:
    from cosmos_venv.managed.from_settings import search_path

    try:
        searched = [store.directory for store in search_path()]
    except CosmosValueError:
        searched = []  # the check of the settings tells it
    directories = tuple(dict.fromkeys([*named.directories, *searched]))
    return replace(named, directories=directories, searched=frozenset(searched) - set(named.directories))


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
    from cosmos_venv.managed import from_settings
    from cosmos_venv.settings.table import SETTINGS

    looks: dict[str, Callable[[], object]] = {name: partial(getattr, settings, name) for name in SETTINGS}
    of_several: dict[str, Callable[[], object]] = {
        "virtualenv_search_path": from_settings.search_path,
        "virtualenv_dir_mode": lambda: directory_mode(settings.virtualenv_dir_mode),
    }
    refused: set[str] = set()
    for name, look in (*looks.items(), *of_several.items()):
        try:
            look()
        except CosmosValueError as error:
            if str(error) not in refused:
                refused.add(str(error))
                way_out = "Correct it, or remove it for the default."
                yield Finding(f"[{settings.SECTION}] {name}", "failed", str(error), way_out)


def check_index(_: Examined) -> Iterator[Finding]:
    """Yield one finding: which installer builds, and whether it finds dbt-core where it is configured to look."""
    from cosmos_venv.managed.from_settings import installer

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
    from cosmos_venv.environments.installers.choice import choose_installer, installer_environment
    from cosmos_venv.environments.installers.command_line import InstallArguments
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
        choices = {name: str(getattr(settings, name)) for name in ("virtualenv_warm_dbt", "local_warm_dbt")}
    except CosmosValueError:
        return  # the check of the settings tells it
    by_choice: dict[str, Outcome] = {"require": "failed", "auto": "warning", "off": "ok"}
    outcome = next(outcome for choice, outcome in by_choice.items() if choice in choices.values())
    if not (sys.platform.startswith("linux") and hasattr(os, "pidfd_open")):
        yield Finding(sys.platform, outcome, "Only Linux starts dbt warm.", f"Set {' and '.join(choices)} to off.")
        return
    try:
        folder = folder_for(_PROBE)
        _connect_in(folder)
    except (NotWarm, OSError) as error:
        way_out = "Set XDG_RUNTIME_DIR or TMPDIR to a short path of a folder that is this user's alone (mode 0700)."
        yield Finding("sockets", outcome, f"No server could stand here: {error}.", way_out)
        return
    chosen = ", ".join(f"{name} is {choice}" for name, choice in choices.items())
    yield Finding(str(folder), "ok", f"A server could stand here; {chosen}.")


def _connect_in(folder: Path) -> None:
    path = folder / f"{_PROBE}.sock"
    path.unlink(missing_ok=True)
    with closing(socket.socket(socket.AF_UNIX)) as listener, closing(socket.socket(socket.AF_UNIX)) as client:
        listener.bind(str(path))
        try:
            listener.listen(1)
            client.connect(str(path))
        finally:
            path.unlink(missing_ok=True)


def check_remote(_: Examined) -> Iterator[Finding]:
    """Yield findings about the remote store; none where none is configured."""
    from cosmos_venv import settings

    if not settings.remote_environment_dir:
        return
    from cosmos_venv.environments.archive import zstd
    from cosmos_venv.managed.remote_environments import configured_store
    from cosmos_venv.managed.signing_key import NoKey

    subject = "[cosmos_venv] remote_environment_dir"
    try:
        store = configured_store()
    except CosmosValueError as error:
        yield Finding(subject, "failed", str(error), "Until then each task that lacks an environment fails.")
        return
    except NoKey as error:
        way_out = "Let the user of the tasks read it."
        if conn_id := settings.remote_key_conn_id:
            words = f"airflow connections add {shlex.quote(conn_id)} --conn-type generic --conn-password KEY"
            way_out = f"Make it ({words}), or see whether the user of the tasks may read it."
        yield Finding(subject, "failed", f"There is no key: {error}. Tasks build for themselves.", way_out)
        return
    try:
        zstd()
    except VirtualenvError as error:
        text = f"Nothing can be fetched or put there: {error}."
        yield Finding("backports.zstd", "warning", text, "Install cosmos-venv[remote] on every worker.")
    yield _try_remote(store)


def _try_remote(store: RemoteStore) -> Finding:
    """What came of writing, reading and removing a small file; of reading alone where tasks put nothing there."""
    from cosmos_venv.files.read_limits import Limit

    folder, began = store.folder, time.monotonic()
    name = f"doctor/{os.urandom(8).hex()}"  # no environment has such a name, and no other doctor has this one
    content, doing = (b"written by cosmos-venv doctor", "written") if store.may_push else (None, "read")
    try:
        if content is not None:
            folder.write(name, content, seconds=_LONGEST_ANSWER, on_wait=_nothing)
        doing = "read"
        found = folder.read(name, seconds=_LONGEST_ANSWER, limit=Limit(most=_SMALL), on_wait=_nothing)
        if found != content:
            raise OSError("what was just written there is not what is read")
        if content is not None:
            doing = "removed"
            folder.remove(name, seconds=_LONGEST_ANSWER)
    except (OSError, ValueError) as error:
        way_out = (
            "See the connection of remote_environment_dir_conn_id, and what it may do below this folder: read, write "
            "and remove (with remote_environment_push off, read)."
        )
        return Finding(str(folder), "failed", f"No file can be {doing} ({error}). Tasks build for themselves.", way_out)
    done = "read, written and removed" if store.may_push else "read; remote_environment_push is off"
    return Finding(str(folder), "ok", f"Files can be {done}, in {time.monotonic() - began:.1f} s.")


def _nothing() -> None:
    """Wait."""


def check_discovery(examined: Examined) -> Iterator[Finding]:
    """Yield a finding for each file: failed where it makes a dbt DAG and lacks a word that Airflow looks for, or cannot
    be read.

    :param examined: its files are looked at.
    """
    from cosmos_venv.cli.discovery import FIND_IT, makes_dbt_dags, why_passed_over
    from cosmos_venv.compat import looks_for_words

    looks = looks_for_words()
    for path in examined.files:
        subject = str(path)
        if not looks:
            yield Finding(subject, "ok", "Airflow looks into every file.")
            continue
        try:
            content = path.read_bytes()
            makes_dags = makes_dbt_dags(content)
        except (OSError, SyntaxError, ValueError) as error:
            yield Finding(subject, "failed", f"It cannot be read as Python: {error}.", "Correct it.")
            continue
        passed_over = why_passed_over(content)
        if makes_dags and passed_over:
            yield Finding(subject, "failed", passed_over, FIND_IT)
        else:
            text = f"It makes no dbt DAG. {passed_over}" if passed_over else "Airflow looks into it."
            yield Finding(subject, "ok", text)


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
