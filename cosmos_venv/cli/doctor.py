"""The command ``cosmos-venv doctor``: it tries what the product relies on, and says how to mend what does not work.

A check is a function that takes the examined files and directories and yields findings. Each check stands in ``CHECKS``
under its name.
"""

from __future__ import annotations

import argparse
import difflib
import fcntl
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from rich.text import Text

from cosmos_venv import settings
from cosmos_venv.cli.output import Result, counted, steps
from cosmos_venv.cli.parsing import absolute_path, add_action, existing_path
from cosmos_venv.credentials import mask
from cosmos_venv.exceptions import CosmosValueError, NotWarm, VirtualenvError
from cosmos_venv.files.os_errors import free_megabytes
from cosmos_venv.files.own_files import directory_mode, is_trusted_path, refuse_noexec
from cosmos_venv.files.read_limits import Limit
from cosmos_venv.managed import resolve
from cosmos_venv.managed.resolve import environment_store, search_path, wanted_installer
from cosmos_venv.settings.table import SETTINGS
from cosmos_venv.version import __version__

if TYPE_CHECKING:
    from cosmos_venv.cli.parsing import Actions
    from cosmos_venv.environments.installers.installer import InstallerPreference
    from cosmos_venv.environments.remote_store import RemoteStore
    from cosmos_venv.environments.store import EnvironmentStore

_ROOM = 500.0  # MB that an environment with dbt and a large adapter takes
_LAST_LINES = 4
_IMPATIENT = {"PIP_RETRIES": "0", "PIP_TIMEOUT": "10", "UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "10"}
_WANTED = "dbt-core"  # no environment does without
_PROBE = "doctor-0123456789ab"  # nearly as long as the name of a server's socket
_LONGEST_ANSWER = 10.0  # seconds that the remote store may take, as in a task
_SMALL = 1_000  # bytes of the file that is tried in the remote store
_COLORS = {"ok": "green", "warning": "yellow", "failed": "red"}
_MAKES_DBT_DAGS = re.compile(rb"\bcosmos(?:_venv)?\b.*\bDbt(?:Dag|TaskGroup)\b", re.DOTALL)


Outcome = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, kw_only=True)
class Examined:
    """The subjects that the checks examine.

    :param files: DAG files, which need not be importable.
    :param directories: directories of environments, those of ``virtualenv_search_path`` among them.
    :param searched: the directories of the search path, which may be read-only.
    """

    files: tuple[Path, ...] = ()
    directories: tuple[Path, ...] = ()
    searched: frozenset[Path] = frozenset()


class Finding(NamedTuple):
    """The finding of a check about one subject.

    :param subject: a file, a folder, an option or a program.
    :param outcome: a warning is no failure: cosmos-venv works, but perhaps not as intended.
    :param text: a sentence.
    :param way_out: a sentence that says what to do; empty where all is well.
    """

    subject: str
    outcome: Outcome
    text: str
    way_out: str = ""


def add_to(subjects: Actions) -> None:
    """Add ``cosmos-venv doctor``.

    :param subjects: the sub-commands of ``cosmos-venv``.
    """
    parser = add_action(subjects, "doctor", "test everything that cosmos-venv needs", doctor)
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
    """Test everything that cosmos-venv needs, and say how to repair what does not work.

    That is Airflow and its settings, the directories of environments (owner, permissions, file system, free space),
    their locks, the installer and its index, the sockets of warm servers, the remote store, and DAG files that Airflow
    ignores. DAG files are not imported, and files that were made for a test are removed. Exit code 1: a check failed; a
    warning is no failure.

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
    try:
        searched = [store.directory for store in search_path()]
    except CosmosValueError:
        searched = []  # reported by the check of the settings
    return Examined(
        files=tuple(options.dagfiles),
        directories=tuple(dict.fromkeys([*options.dir, *searched])),
        searched=frozenset(searched) - set(options.dir),
    )


def check_airflow(_: Examined) -> Iterator[Finding]:
    """Yield the releases. The import here fails, with the reason, where Airflow is too old."""
    from cosmos_venv.compat import AIRFLOW_VERSION

    yield Finding("Airflow", "ok", f"Airflow {AIRFLOW_VERSION}, cosmos-venv {__version__}.")


def check_settings(_: Examined) -> Iterator[Finding]:
    """Yield a finding for each option that has no effect or is refused, else one finding."""
    found = [*_unknown_options(), *_refused_values()]
    yield from found or [
        Finding("[cosmos_venv]", "ok", "Every option that is set is known, and its value is possible.")
    ]


def _unknown_options() -> Iterator[Finding]:
    from cosmos_venv.compat import configured_options

    known = {*SETTINGS, *(each.older_name for each in SETTINGS.values() if each.older_name)}
    for section in (settings.SECTION, settings.COSMOS_SECTION):
        for name in sorted(set(configured_options(section)) - known):
            near = difflib.get_close_matches(name, known, n=1)
            way_out = f"Did you mean {near[0]}?" if near else "Remove it, unless something else reads it."
            text = "cosmos-venv has no such option, so what is set there does nothing."
            yield Finding(f"[{section}] {name}", "warning", text, way_out)


def _refused_values() -> Iterator[Finding]:
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


def check_directories(examined: Examined) -> Iterator[Finding]:
    """Yield at least one finding for each directory, and one for the temporary folder.

    :param examined: its directories are looked at.
    """
    for directory in examined.directories:
        is_searched = directory in examined.searched
        if directory.exists():
            yield from _existing(directory, is_searched)
        else:
            yield _missing(directory, is_searched)
    yield _temporary_folder()


def _missing(directory: Path, is_searched: bool) -> Finding:
    parent = next(each for each in directory.parents if each.exists())
    if is_searched:
        text = "It is on virtualenv_search_path and does not exist, so nothing is found there."
        return Finding(str(directory), "warning", text, "Build it with cosmos-venv env warm --dir, or remove it.")
    if not _can_write(parent):
        text = f"It does not exist, and user id {os.geteuid()} may not make it in {parent}."
        return Finding(str(directory), "failed", text, f"Make it, owned by user id {os.geteuid()}.")
    text = "It does not exist yet; the first build makes it. Nothing was tried there."
    return _why_untrusted(environment_store(directory)) or Finding(str(directory), "ok", text)


def _can_write(directory: Path) -> bool:
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)


def _existing(directory: Path, is_searched: bool) -> Iterator[Finding]:
    from cosmos_venv.environments.maintenance.pruner import read_inventory

    store, subject = environment_store(directory), str(directory)
    try:
        ready = [each.record for each in read_inventory(store) if each.state == "ready" and each.record]
    except (VirtualenvError, CosmosValueError) as error:
        yield Finding(subject, "failed", str(error), "Give a directory that this user may read and write.")
        return
    faults = [fault] if (fault := _why_untrusted(store)) else []
    pythons = Counter(record.spec.interpreter.executable for record in ready)
    for python, count in pythons.items():
        # The record names this interpreter, so bin/python of the build, which is a link to it, need not be followed.
        if not os.path.exists(python):  # noqa: PTH110
            text = f"{count} of {len(ready)} environments are made of {python}, which is not here."
            way_out = "Use an image that has this Python, or build them here."
            faults.append(Finding(subject, "warning", text, way_out))
    faults += _faults_of_mount(directory, is_searched)
    yield from faults
    if not any(each.outcome == "failed" for each in faults):
        text = f"{counted(len(ready), 'ready environment')}, {free_megabytes(directory):.1f} MB free."
        yield Finding(subject, "ok", text)


def _faults_of_mount(directory: Path, is_searched: bool) -> Iterator[Finding]:
    subject = str(directory)
    try:
        refuse_noexec(directory)
    except (VirtualenvError, OSError) as error:
        yield Finding(subject, "failed", str(error), "Mount it without noexec, or use another directory.")
    if _can_write(directory):
        if fault := _fault_of_locks(directory):
            way_out = "Use a local disk or NFS 4, mounted without nolock and local_lock."
            yield Finding(subject, "failed", f"The file system will not do: {fault}.", way_out)
        if (free := free_megabytes(directory)) < _ROOM:
            text = f"Only {free:.1f} MB are free, and an environment takes some {_ROOM:.0f} MB."
            yield Finding(subject, "warning", text, "Make room: cosmos-venv env prune.")
    elif not is_searched:
        text = f"User id {os.geteuid()} cannot write there: environments there are used, and nothing is built."
        way_out = "Right for virtualenv_search_path; a virtualenv_dir must be writable."
        yield Finding(subject, "warning", text, way_out)


def _why_untrusted(store: EnvironmentStore) -> Finding | None:
    try:
        store.refuse_untrusted()
    except (VirtualenvError, OSError) as error:
        way_out = "Let it belong to the user of the tasks, and to nobody else."
        return Finding(str(store.directory), "failed", str(error), way_out)
    return None


def _temporary_folder() -> Finding:
    """Whether the temporary folder can hold the environment of a task that keeps none."""
    from cosmos_venv.environments.builder import WAY_OUT_OF_AN_OPEN_TMPDIR

    folder = Path(tempfile.gettempdir())
    try:
        refuse_noexec(folder, parameter="TMPDIR")
    except (VirtualenvError, OSError) as error:
        return Finding(str(folder), "warning", str(error), "Set TMPDIR, or give every task a virtualenv_dir.")
    if not is_trusted_path(folder / "of-a-task"):
        text = f"Other users can replace what tasks make in {folder}, temporary environments among it."
        return Finding(str(folder), "warning", text, WAY_OUT_OF_AN_OPEN_TMPDIR)
    return Finding(str(folder), "ok", f"Temporary environments can stand here; {free_megabytes(folder):.1f} MB free.")


def _fault_of_locks(directory: Path) -> str:
    """What is wrong with the kernel's locks in a directory; empty where nothing is."""
    try:
        # A lock belongs to one opening of a file. The kernel refuses it to a second opening, also in the same process.
        with tempfile.NamedTemporaryFile(prefix=".cosmos-venv-doctor-", dir=directory) as first:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with Path(first.name).open("rb+") as second:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return ""
    except OSError as error:
        return f"it has no kernel locks ({error.strerror})"
    return "a second open file gets the lock that the first one holds"


def check_index(_: Examined) -> Iterator[Finding]:
    """Yield one finding: which installer builds, and whether it finds dbt-core where it is configured to look."""
    try:
        yield try_index(wanted_installer(), os.environ)
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
    with scratch_folder("cosmos-venv-index-") as scratch:
        tool = [installer.uv, "pip"] if installer.uv else [sys.executable, "-I", "-m", "pip"]
        python = ["--python", sys.executable] if installer.uv else ["--ignore-installed"]
        words = [*python, "--dry-run", "--no-deps", "--target", str(scratch / "target"), *arguments.words, _WANTED]
        variables = {**installer_environment(environ, scratch), **arguments.variables, **_IMPATIENT}
        try:
            done = run_guarded([*tool, "install", *words], env=variables)
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
    from cosmos_venv.dbt.warm.servers import folder_for

    try:
        choices = {str(settings.virtualenv_warm_dbt), str(settings.local_warm_dbt)}
    except CosmosValueError:
        return  # reported by the check of the settings
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
    if not settings.remote_environment_dir:
        return
    from cosmos_venv.environments.archive import zstd
    from cosmos_venv.managed.remote_environments import configured_store

    try:
        store = configured_store()
        zstd()
    except (CosmosValueError, VirtualenvError) as error:
        way_out = (
            "Tasks find no environment there until all workers have cosmos-venv[remote], and a key that the user of "
            "the tasks may read (airflow connections add ID --conn-type generic --conn-password KEY)."
        )
        yield Finding("[cosmos_venv] remote_environment_dir", "failed", str(error), way_out)
    else:
        yield _try_remote(store)


def _try_remote(store: RemoteStore) -> Finding:
    """Write, read and remove a small file, and return the outcome. Where tasks put nothing there, only read."""
    folder, seconds = store.folder, _LONGEST_ANSWER
    name = f"doctor/{os.urandom(8).hex()}"  # no environment has such a name; each run has another name
    content = b"written by cosmos-venv doctor" if store.may_push else None
    try:
        if content is not None:
            folder.write(name, content, seconds=seconds, on_wait=lambda: None)
        found = folder.read(name, seconds=seconds, limit=Limit(most=_SMALL), on_wait=lambda: None)
        if content is not None:
            folder.remove(name, seconds=seconds)
        if found != content:
            raise OSError("what was just written there is not what is read")
    except (OSError, ValueError) as error:
        way_out = (
            "Tasks build for themselves. See the connection of remote_environment_dir_conn_id, and what it may do "
            "below this folder: read, write and remove (with remote_environment_push off, read)."
        )
        tried = "written, read or removed" if store.may_push else "looked for"
        return Finding(str(folder), "failed", f"A small file cannot be {tried}: {error}.", way_out)
    done = "read, written and removed" if store.may_push else "read; remote_environment_push is off"
    return Finding(str(folder), "ok", f"Files can be {done}.")


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
    "index": check_index,
    "sockets": check_sockets,
    "remote": check_remote,
    "discovery": check_discovery,
}
