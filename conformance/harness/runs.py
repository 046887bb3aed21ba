"""The calls of a task's dbt, the files on disk, and whether a task waits."""

from __future__ import annotations

import csv
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pytest_cosmos_venv import DbtCall
from pytest_cosmos_venv.environments.cosmos_dbt import FOLDER as FOLDER_OF_THE_FAKE
from pytest_cosmos_venv.environments.sdist import Sdist
from pytest_cosmos_venv.races.points import Point, Sighting

from ..adapter import Outcome, Task
from .harness import Harness
from .processes import REST, installers_below, watch_until_rest
from .running import RunningTasks
from .seed_scenarios import LOCAL

_MOST = 20_000_000  # bytes: larger files are not read for a secret
RESTS = "it waits: no process of it does anything"


def ran(harness: Harness, task: Task, variables: Mapping[str, str] | None = None) -> DbtCall:
    """The one ``dbt run`` of a task that has to succeed.

    :param harness: the harness of the test.
    :param task: what to run.
    :param variables: variables of the task's environment.
    """
    __tracebackhide__ = True
    before = len(harness.calls("run"))
    outcome = harness.run(task, variables=variables)
    assert outcome.succeeded, f"the task must succeed; seen: {outcome}"
    calls = harness.calls("run")[before:]
    assert len(calls) == 1, f"the task must run dbt once; seen: {calls}"
    return calls[0]


@contextmanager
def dbt_running(harness: Harness, task: Task, **variables: str) -> Iterator[DbtCall]:
    """The call of a dbt run that is in the middle of its work; afterwards the task goes on, and has to succeed.

    :param harness: the harness of the test.
    :param task: what to run.
    :param **variables: of the task's environment.
    """
    __tracebackhide__ = True
    before = len(harness.calls("run"))
    held = harness.wheelhouse.script("run", hold=True)
    with harness.start(task, variables=variables) as running:
        running.race.wait_for(run_begins(harness))
        held.take_back()
        yield harness.calls("run")[before]
        held.release()
        outcome = running.finish().outcomes[0]
    assert outcome.succeeded, f"the task must succeed; seen: {outcome}"


def run_begins(harness: Harness) -> Point:
    """The point at which one more ``dbt run`` has begun; other commands of dbt do not count.

    :param harness: the harness of the test.
    """
    before = len(harness.calls("run"))
    return point("dbt run", lambda: harness.calls("run")[before:])


def point(name: str, find: Callable[[], object]) -> Point:
    """The point at which ``find`` finds something for the first time.

    :param name: the name of the point in timelines.
    :param find: called again and again.
    """

    def look() -> Sighting | None:
        found = find()
        return Sighting(at=time.time(), what=str(found)) if found else None

    return Point(name, look)


def is_below(place: Path, folder: Path) -> bool:
    """Whether a path is the folder, or lies in it, whatever links lead there.

    :param place: the path.
    :param folder: the folder.
    """
    return folder.resolve() in (place.resolve(), *place.resolve().parents)


def prefixed_folders(call: DbtCall) -> list[Path]:
    """The folders around a dbt, the environment's own first, whose names begin with the documented prefix.

    :param call: a call of dbt in a temporary environment.
    """
    return [folder for folder in (call.prefix, *call.prefix.parents) if folder.name.startswith("cosmos-venv")]


def temporary_home(call: DbtCall) -> Path:
    """The temporary directory that dbt ran in; where no folder has the documented prefix, the environment.

    :param call: a call of dbt in a temporary environment.
    """
    return [call.prefix, *prefixed_folders(call)][-1]


def installed(prefix: Path) -> dict[str, Path]:
    """The RECORD of each distribution in an environment, by name and version as files have them: ``dbt_core-1.10.0``.

    The packages that a new environment has from the start do not count.

    :param prefix: the folder of the environment.
    """
    found = {
        file.parent.name.removesuffix(".dist-info"): file
        for file in prefix.glob("lib*/python3*/site-packages/*.dist-info/RECORD")
    }
    return {name: file for name, file in found.items() if name.split("-")[0] not in ("pip", "setuptools", "wheel")}


def unpacked(prefix: Path) -> dict[str, tuple[int, int]]:
    """Inode and time (ns) of each RECORD: they tell whether a distribution was unpacked anew.

    :param prefix: the folder of the environment.
    """
    return {name: (file.stat().st_ino, file.stat().st_mtime_ns) for name, file in installed(prefix).items()}


def require_kept(said: str, prefix: Path, before: Mapping[str, tuple[int, int]], call: DbtCall) -> None:
    """Fail unless dbt runs in an earlier environment, in which nothing was unpacked anew.

    :param said: what is required.
    :param prefix: the folder of the environment.
    :param before: what ``unpacked`` has returned for that environment.
    :param call: the call of dbt.
    """
    __tracebackhide__ = True
    now = unpacked(call.prefix)
    anew = sorted(name for name, record in now.items() if before.get(name) != record)
    gone = sorted(before.keys() - now.keys())
    seen = f"dbt in {call.prefix}, unpacked anew: {', '.join(anew) or 'none'}, gone: {', '.join(gone) or 'none'}"
    assert (call.prefix, now) == (prefix, before), f"{said}, {prefix}; seen: {seen}"


def unpacking_begins(virtualenv_dir: Path, start: str) -> Point:
    """The point at which a distribution of that name stands in an environment.

    :param virtualenv_dir: any environment below it counts.
    :param start: how the name of the distribution begins, such as ``dbt_``.
    """

    return point("unpacking", lambda: [name for name in _unpacked_below(virtualenv_dir) if name.startswith(start)])


def installing_ends(virtualenv_dir: Path, names: set[str]) -> Point:
    """The point at which all distributions stand in an environment, and no installer works on it any more.

    dbt may have started by then. Since it is held, the point cannot be missed.

    :param virtualenv_dir: any environment below it counts.
    :param names: the names of the distributions, as files have them: ``dbt_core``.
    """

    def is_reached() -> bool:
        is_whole = {name.split("-")[0] for name in _unpacked_below(virtualenv_dir)} >= names
        return is_whole and not installers_below(virtualenv_dir, [])

    return point("finishing", is_reached)


def seen_installers(folder: Path, calls: Path) -> dict[str, str]:
    """Variables with which each uv of PATH and each pip leaves a line in a file.

    :param folder: an existing folder for a script that takes the place of uv.
    :param calls: the file.
    """
    beside = str(Path(sys.executable).parent)
    uv = shutil.which("uv") or shutil.which("uv", path=beside)
    scripts = folder / "scripts"
    scripts.mkdir()
    if uv:
        script = f'#!/bin/sh\necho "uv $*" >> "{calls}"\nexec "{uv}" "$@"\n'
        (scripts / "uv").write_text(script, encoding="utf-8")
        (scripts / "uv").chmod(0o755)
    return {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "PIP_LOG": str(calls)}


def _unpacked_below(virtualenv_dir: Path) -> Iterator[str]:
    """Names of folders with a RECORD; an installer may be at work there, and ``os.walk`` skips folders that vanish."""
    return (Path(folder).name for folder, _, files in os.walk(virtualenv_dir) if "RECORD" in files)


def damage(prefix: Path) -> list[str]:
    """Files of installed distributions that are not there, or have another size than their RECORD says, in words.

    :param prefix: the folder of the environment.
    """
    found = []
    for record in installed(prefix).values():
        for name, _, size in csv.reader(record.read_text(encoding="utf-8").splitlines()):
            file = record.parent.parent / name
            if not file.exists():
                found.append(f"{name} is not there")
            elif size and file.stat().st_size != int(size):
                found.append(f"{name} has {file.stat().st_size} bytes of {size}")
    return found


def files_in(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, time (ns) and size of each file in a folder, without byte code.

    :param folder: a folder in which others may be at work.
    """
    found = {}
    # Other processes may be at work there: os.walk skips folders that vanish meanwhile.
    for place, _, names in os.walk(folder):
        for file in (Path(place, name) for name in names if Path(place).name != "__pycache__"):
            with suppress(FileNotFoundError):
                status = file.lstat()
                found[str(file.relative_to(folder))] = (status.st_ino, status.st_mtime_ns, status.st_size)
    return found


def places(harness: Harness) -> list[Path]:
    """The places where a task may leave something.

    They are the test's folder, which may hold the task's home; the temporary directory, with the folder for sockets;
    and Airflow's home.

    :param harness: the harness of the test.
    """
    return [harness.folder, Path(tempfile.gettempdir()), Path(os.environ["AIRFLOW_HOME"])]


def files_with(secret: str, roots: Iterable[Path]) -> list[Path]:
    """Files in whose content the secret stands; files of the suite itself do not count.

    :param secret: what is looked for.
    :param roots: folders to look through.
    """
    return [file for root in roots for file in _files(root) if _has(file, secret.encode())]


def require_hidden(secret: str, what: str, outcome: Outcome, files: Sequence[Path] = ()) -> None:
    """Fail where a secret stands in a file that is left, in the log or the error of a task, or in a rendered field.

    :param secret: what must not be read.
    :param what: the secret in words.
    :param outcome: the outcome of a task that knows the secret.
    :param files: the files in which the secret was found.
    """
    __tracebackhide__ = True
    fields = [name for name, value in outcome.fields.items() if secret in value]
    texts = {"log": outcome.log.splitlines(), "error": [str(outcome.exception)]}
    found = {kind: [line.replace(secret, "***") for line in lines if secret in line] for kind, lines in texts.items()}
    for kind, seen in {**found, "rendered field": fields, "file": files}.items():
        assert not seen, f"no {kind} must hold {what}; seen: {seen[0]}"


def readable_by_others(file: Path, roots: Sequence[Path]) -> bool:
    """Whether another user could read a file, were the root above it open to all.

    :param file: below one of the roots.
    :param roots: folders whose own permissions do not count.
    """
    root = next(each for each in roots if file.is_relative_to(each))
    parents = [each for each in file.parents if each != root and each.is_relative_to(root)]
    try:
        closed = [each for each in parents if not each.stat().st_mode & stat.S_IXOTH]
        return not closed and bool(file.stat().st_mode & stat.S_IROTH)
    except FileNotFoundError:
        return False


def directories(root: Path) -> Iterator[Path]:
    """``root`` and all directories below it; none where it is not there.

    :param root: the folder to begin with.
    """
    return (Path(folder) for folder, _, _ in os.walk(root))


def _files(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name != FOLDER_OF_THE_FAKE]
        yield from (Path(folder, name) for name in files)


def _has(file: Path, secret: bytes) -> bool:
    try:
        is_small = stat.S_ISREG(file.lstat().st_mode) and file.stat().st_size < _MOST
        return is_small and secret in file.read_bytes()
    except OSError:  # gone meanwhile
        return False


def wait_for_outcome(harness: Harness, running: RunningTasks, held: Sdist, *, seconds: float = REST) -> str:
    """Wait until the only task rests, installs or has ended, and return in words which of these.

    A task that does none of these before the harness's timeout counts as at work and not as waiting.

    :param harness: the harness of the test.
    :param running: the only task.
    :param held: the package that must be built for its environment.
    :param seconds: the seconds for which it has to rest.
    """
    rests = watch_until_rest(
        running.pids, lambda: held.builds or not running.running, seconds=seconds, timeout=harness.timeout
    )
    if held.builds:
        return f"its installer builds a package, in process {held.builds[0].pid}"
    if not running.running:
        return f"it ended: {running.finish().outcomes[0]}"
    return RESTS if rests else f"it is at work, for {harness.timeout:g} s by now"


def require(harness: Harness, *scenarios: str, mode: str = LOCAL) -> None:
    """Fail unless each of these scenarios comes out as required; the error has all that was done and seen.

    :param harness: the harness of the test.
    :param *scenarios: ids of ``SEED_SCENARIOS``.
    :param mode: execution mode of scenarios that name none.
    """
    __tracebackhide__ = True
    played = scenarios[:1] if harness.is_glance else scenarios
    failures = harness.ask(
        "play",
        scenarios=played,
        mode=mode,
        folder=harness.folder / "seeds",
        wheelhouse=harness.wheelhouse,
        virtualenv_dir=harness.shared_directory,
        dbt_version=harness.versions[0] if harness.has_native_dbt else None,
    )
    if failures:
        raise AssertionError("\n\n".join(failures.values()))
