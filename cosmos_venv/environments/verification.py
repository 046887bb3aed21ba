"""Is a build still what its record says, and does what is installed in it work?"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cosmos_venv import os_errors
from cosmos_venv.environments import byte_code, integrity
from cosmos_venv.environments.environment import Environment
from cosmos_venv.environments.interpreter import Interpreter
from cosmos_venv.environments.inventory import StoredBuild
from cosmos_venv.environments.record import BuildRecord, read_record
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.guarded import run_guarded
from cosmos_venv.lease import Lease
from cosmos_venv.trust import judge, writable_by_others


@dataclass(frozen=True, kw_only=True)
class Verified:
    """:param faults: what is wrong, one clause each; empty when it is as it was made.
    :param has_run: whether the check was run that was asked for.
    """

    faults: list[str]
    has_run: bool = False


def verify(stored: StoredBuild, *, check: str | None = None, content: bool = False) -> Verified:
    """Hold a build against its record, and let its own Python run a check.

    It is in use for as long as that takes, and counts as no more used than before. What another user than this one
    and root could have written is not run, and its interpreter is not asked for its version.

    :param check: Python source, which ends with an error where something does not work; None: nothing is run.
    :param content: whether each file is read: installed ones are compared with their hashes, byte code is tried.
    :raises VirtualenvError: when this process may open no more files.
    """
    with _kept(stored.path) as is_kept:
        if not is_kept or not stored.path.is_dir():
            return Verified(faults=["it has been removed"])
        try:
            faults = [
                *_record_faults(stored),
                *file_faults(stored.path, content=content),
                *_open_to_others(stored.path),
            ]
        except (OSError, ValueError) as error:
            _refuse_shortage(error)
            return Verified(faults=[f"it cannot be read: {error}"])
        if check is None or not _may_be_run(stored.path):
            return Verified(faults=faults)
        return Verified(faults=[*faults, *_check_faults(stored.path, check)], has_run=True)


def damage(environment: Environment, *, content: bool) -> list[str]:
    """What an environment in use has lost since it was built, one clause each; empty when nothing.

    The flaws that its record names do not count:
    an environment with a package whose RECORD is wrong would be built again and again.

    :param content: whether its files are read too, where nothing else is found.
    """
    try:
        record = read_record(environment.record_file)
    except (OSError, ValueError):
        record = None  # of no use for a command of its
    found = [] if record is None else [*_pin_faults(record.pins, integrity.installed(environment.path).pins)]
    found += file_faults(environment.path, content=False)
    if content and not found:
        found = file_faults(environment.path, content=True)
    known = () if record is None else record.flaws
    return [fault for fault in found if fault not in known]


def file_faults(build: Path, *, content: bool) -> list[str]:
    """What is missing or changed of a build's files, one clause each.

    :param content: as for ``verify``.
    """
    found = [*_link_faults(build), *integrity.faults(build, content=content)]
    if content and _may_be_run(build):
        found += _byte_code_faults(build)
    return found


def _link_faults(build: Path) -> Iterator[str]:
    """Links that lead nowhere, and the file that makes a folder an environment; the interpreter is told elsewhere."""
    has_python = (build / "bin" / "python").exists()
    for path in sorted([*build.glob("bin/*"), *build.glob("lib*")]):
        if path.is_symlink() and not path.exists() and (has_python or not path.name.startswith("python")):
            yield f"{path.relative_to(build)} leads to {path.readlink()}, which is missing"
    config = build / "pyvenv.cfg"
    if not config.is_file():
        yield f"{config.name} is missing"
    elif not config.stat().st_size:
        yield f"{config.name} is empty"


def _open_to_others(build: Path) -> Iterator[str]:
    """What others can write in a build. All of it is judged before it is published; later it is seen here alone."""
    try:
        writers = judge(build.parent).writers
    except (VirtualenvError, OSError):
        return  # the directory is not used at all, and said to be so
    for path, _, reason in writable_by_others(build, writers):
        yield f"{path.relative_to(build)}: {reason}"


def _byte_code_faults(build: Path) -> list[str]:
    python = build / "bin" / "python"
    folders = map(str, integrity.site_packages(build))
    try:
        done = run_guarded([str(python), "-I", "-S", "-B", "-c", byte_code.CHECK, *folders], cwd="/")
    except OSError as error:
        _refuse_shortage(error)
        return []  # told already
    return done.lines if done.returncode == 0 else []


def _refuse_shortage(error: Exception) -> None:
    """Raises where this process may open no more files: that is no fault of the build."""
    if isinstance(error, OSError) and (words := os_errors.shortage(error)):
        raise VirtualenvError(words) from error


def _may_be_run(build: Path) -> bool:
    try:
        judge(build.parent, build, build / "bin" / "python")
    except (VirtualenvError, OSError):
        return False
    return True


def _check_faults(build: Path, check: str) -> Iterator[str]:
    python = build / "bin" / "python"
    if not python.exists():
        return  # told already
    try:
        # It may not write byte code: who verifies changes nothing.
        done = run_guarded([str(python), "-I", "-B", "-c", check], cwd="/")
    except OSError as error:
        _refuse_shortage(error)
        yield f"its Python cannot be started: {error}"
        return
    if done.returncode:
        yield f"it does not work: {done.lines[-1] if done.lines else f'exit code {done.returncode}'}"


def _record_faults(stored: StoredBuild) -> Iterator[str]:
    record = stored.record
    if record is None:
        yield stored.record_fault
        return
    if record.digest != stored.digest:
        yield f"the record is of another environment, {record.digest}"
    yield from _interpreter_faults(stored.path, record)
    yield from _pin_faults(record.pins, integrity.installed(stored.path).pins)


def _interpreter_faults(build: Path, record: BuildRecord) -> Iterator[str]:
    python = build / "bin" / "python"
    # The real one, outside of the environment: no .pth file of what is installed takes part.
    real = Path(os.path.realpath(python))
    if not real.exists():
        yield f"its interpreter is gone: bin/python leads to {real}"
        return
    try:
        judge(real)
    except VirtualenvError:
        return  # no fault of the build, but nothing that this user should run
    try:
        actual = Interpreter.of(str(real))
    except CosmosValueError as error:
        # The error's way out is for who has given py_executable.
        yield f"its interpreter, {real}, does not answer: {str(error).partition('. ')[0]}"
        return
    expected = record.spec.interpreter
    if (actual.implementation, actual.version) != (expected.implementation, expected.version):
        yield (
            f"its interpreter is now {actual.implementation} {actual.version} "
            f"instead of {expected.implementation} {expected.version}"
        )


def _pin_faults(recorded: Mapping[str, str], installed: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*recorded, *installed}):
        before, now = recorded.get(name), installed.get(name)
        if before != now:
            yield f"{name} is {now or 'not installed'} instead of {before or 'absent'}"


@contextmanager
def _kept(build: Path) -> Iterator[bool]:
    """Within this block nobody removes the build; False when somebody does so just now."""
    try:
        lease = Lease.for_reading(build)
    except OSError as error:
        # Without its file, or on a mount without locks, it is looked at as it is.
        yield error.errno != errno.ENOENT or build.is_dir()
        return
    try:
        yield lease is not None
    finally:
        if lease is not None:
            lease.close()
