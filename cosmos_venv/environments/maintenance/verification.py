"""Whether a build is still what its record says: its distributions, files, links and libraries. Nothing is written."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from cosmos_venv.environments import post_install
from cosmos_venv.environments.maintenance.pruner import StoredBuild
from cosmos_venv.environments.store import BuildRecord, Environment
from cosmos_venv.exceptions import VirtualenvError
from cosmos_venv.files.kernel_lock import Lease
from cosmos_venv.files.own_files import refuse_untrusted, writable_by_others
from cosmos_venv.processes.guarded_process import run_guarded


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The answer of ``verify``.

    :param faults: what is wrong, one clause each; empty when the build is as it was made.
    :param has_run: whether the check that was asked for was run.
    """

    faults: list[str]
    has_run: bool = False


def verify(stored: StoredBuild, *, check: str | None = None, content: bool = False) -> Verified:
    """Compare a ready build with its record, and let its own Python run a check.

    The build is in use for as long as that takes, but its last use is not changed. The check does not run if a user
    other than this user and root can write to the build, or can replace its folder.

    :param stored: the build, which is ready.
    :param check: Python source, which ends with an error where something does not work; None: nothing is run.
    :param content: whether each file is read and compared with its hash.
    """
    with kept(stored.path) as is_kept:
        if not is_kept or stored.record is None or not stored.path.is_dir():
            return Verified(faults=["it has been removed"])
        try:
            # Its own Python would run with the rights of the caller, and with what others have put into site-packages.
            refuse_untrusted(stored.path.parent, stored.path, is_open_allowed=stored.may_be_open)
            faults = _faults(stored.path, stored.record, content=content)
            found = () if stored.may_be_open else writable_by_others(stored.path)
            open_to_others = [f"{path.relative_to(stored.path)}: {reason}" for path, _, reason in found]
        except (VirtualenvError, OSError, ValueError) as error:
            return Verified(faults=[f"it cannot be used: {error}"])
        faults += open_to_others
        if check is None or open_to_others:
            return Verified(faults=faults)
        return Verified(faults=[*faults, *_check_faults(stored.path, check)], has_run=True)


def damage(environment: Environment) -> list[str]:
    """Return what an environment in use has lost since it was built, one clause each; empty when nothing.

    :param environment: the caller's, so nobody removes it meanwhile.
    :raises OSError: when this process may open no more files.
    """
    return _faults(environment.path, environment.record, content=False)


def _faults(build: Path, record: BuildRecord, *, content: bool) -> list[str]:
    """Return what is missing or changed of a build, one clause each."""
    return [
        *_pin_faults(record.pins, post_install.pins_in(build)),
        *_link_faults(build),
        *post_install.file_faults(build, content=content),
        *post_install.library_faults(build, record.libraries, content=content),
    ]


def _link_faults(build: Path) -> Iterator[str]:
    """Yield the dangling links, such as that to the interpreter, and the fault of ``pyvenv.cfg``."""
    for path in sorted([*build.glob("bin/*"), *build.glob("lib*")]):
        if path.is_symlink() and not path.exists():
            yield f"{path.relative_to(build)} leads to {path.readlink()}, which is missing"
    config = build / "pyvenv.cfg"
    if not config.is_file() or not config.stat().st_size:
        yield f"{config.name} is missing or empty"


def _check_faults(build: Path, check: str) -> Iterator[str]:
    python = build / "bin" / "python"
    if not python.exists():
        return  # _link_faults reports it
    try:
        # -B: a check must not write byte code, as verifying changes nothing.
        done = run_guarded([str(python), "-I", "-B", "-c", check], cwd="/")
    except OSError as error:
        yield f"its Python cannot be started: {error}"
        return
    if done.returncode:
        yield f"it does not work: {done.lines[-1] if done.lines else f'exit code {done.returncode}'}"


def _pin_faults(recorded: Mapping[str, str], installed: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*recorded, *installed}):
        before, now = recorded.get(name), installed.get(name)
        if before != now:
            yield f"{name} is {now or 'not installed'} instead of {before or 'absent'}"


@contextmanager
def kept(build: Path) -> Iterator[bool]:
    """Keep anybody from removing a build within this block. This is not noted as a use of the build.

    :param build: its directory.
    :returns: False when the build is being removed, or is gone.
    """
    try:
        lease = Lease.shared(build, make=False)
    except OSError as error:
        # Without a lease file, or on a mount without locks, the build is looked at unprotected.
        yield error.errno != errno.ENOENT or build.is_dir()
        return
    with nullcontext() if lease is None else closing(lease):
        yield lease is not None
