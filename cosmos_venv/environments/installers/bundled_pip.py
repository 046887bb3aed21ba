"""The pip that installs where uv does not: the worker's own, or the one that comes with its Python.

``ensurepip`` installs the wheel that comes with every Python into each environment, which takes longer than a small
installation. So that wheel is unpacked once for all builds of a worker that has no pip. It is kept in the user's cache
folder, below a folder that nobody else may enter, and is used only whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import site
import stat
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from cosmos_venv.environments import post_install
from cosmos_venv.environments.spec import Interpreter
from cosmos_venv.files.durable_files import ABANDONED_SECONDS, age, in_one_step, remove_apart, sweep_abandoned
from cosmos_venv.files.permissions import is_trusted_way, make_directory

RUNNER = Path("pip", "__pip-runner__.py")
"""The program of a pip from 22.3 on that runs it on another Python than its own: what ``pip --python`` starts."""

# Where Pythons keep the wheel: beside ensurepip, or where a Linux distribution says; Debian does not tell sysconfig.
WHERE = """
import ensurepip, json, os, sysconfig
print(json.dumps([os.path.dirname(ensurepip.__file__), sysconfig.get_config_var("WHEEL_PKG_DIR")]))
"""
_OF_DEBIAN = "/usr/share/python-wheels"
_PRIVATE = 0o700
_FOR_OTHERS = 0o077

_OLDEST = "22.3"  # the first that installs into another Python (pip --python)


def bundled_pip(
    interpreter: Interpreter, scratch: Path, environ: Mapping[str, str], *, ask: Callable[[str], str]
) -> Path | None:
    """Return the program of a pip that a Python brings; None where it brings none, or one that is too old.

    :param interpreter: the Python.
    :param scratch: folder that gets the pip where there is no cache folder, for this build alone.
    :param environ: variables that say where the user's cache folder is.
    :param ask: runs a source on a Python that is not the worker's, and gives what it prints.
    :raises OSError: when the pip cannot be unpacked.
    """
    wheel = _wheel(interpreter, ask)
    if wheel is None:
        return None
    with suppress(OSError):
        if (kept := _kept(wheel, environ)) is not None:
            return kept / RUNNER
    folder = scratch / "pip"
    _unpack(wheel, folder)
    return folder / RUNNER if (folder / RUNNER).is_file() else None


def _wheel(interpreter: Interpreter, ask: Callable[[str], str]) -> Path | None:
    if interpreter.is_own:
        import ensurepip
        import sysconfig

        beside, named = Path(ensurepip.__file__).parent, sysconfig.get_config_var("WHEEL_PKG_DIR")
    else:
        try:
            said, named = json.loads(ask(WHERE).splitlines()[-1])
        except (ValueError, IndexError):  # a Python without ensurepip, as Linux distributions have it
            return None
        beside = Path(said)
    folders = [beside / "_bundled", *([Path(named)] if named else []), Path(_OF_DEBIAN)]
    return next((wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl"))), None)


def _kept(wheel: Path, environ: Mapping[str, str]) -> Path | None:
    """The folder of this wheel in the user's cache, unpacked if need be; None where nothing of it could be kept alone.

    :raises OSError: when it cannot be written.
    """
    home = environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - Path raises without a home
    if not os.path.isabs(home):  # noqa: PTH117 - as it was written
        return None
    own = Path(home, "cosmos-venv")
    make_directory(own.parent)
    with suppress(FileExistsError):
        own.mkdir(mode=_PRIVATE)
    status = own.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & _FOR_OTHERS:
        return None
    # A pip that somebody else could have put there would run with this user's rights.
    if not is_trusted_way(own):
        return None
    sweep_abandoned(own)
    for left in own.glob("unpacking-*"):  # of release 0.1
        with suppress(FileNotFoundError):  # another build sweeps too
            if age(left.lstat().st_mtime) >= ABANDONED_SECONDS:
                remove_apart(left)
    folder = own / f"pip-{hashlib.sha256(wheel.read_bytes()).hexdigest()[:32]}"
    if folder.is_dir() and post_install.faults_in(folder):
        shutil.rmtree(folder)
    if not folder.is_dir():
        try:
            with in_one_step(folder) as apart:
                apart.mkdir(mode=_PRIVATE)
                _unpack(wheel, apart)
        except OSError:
            if not folder.is_dir():  # another build has been faster
                raise
    return folder if (folder / RUNNER).is_file() else None


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)


def own_pip() -> Path | None:
    """Return the program of the worker's pip that runs it on another Python; None where there is none of use."""
    import importlib.util

    found = importlib.util.find_spec("pip") if has_usable_pip() else None
    runner = Path(found.origin).parent / RUNNER.name if found is not None and found.origin else None
    return runner if runner is not None and runner.is_file() else None


def has_usable_pip() -> bool:
    """Return whether the worker has a pip that fills other environments, and sees it when run isolated (-I)."""
    import importlib.metadata
    import importlib.util

    from packaging.version import Version

    found = importlib.util.find_spec("pip")
    if found is None or found.origin is None or found.origin.startswith(site.getusersitepackages()):
        return False
    try:
        return Version(importlib.metadata.version("pip")) >= Version(_OLDEST)
    except importlib.metadata.PackageNotFoundError:
        return False


def pip_version() -> tuple[int, ...]:
    """Return the release of the pip that installs, as numbers; empty where it is not known.

    Where neither it nor the interpreter is the worker's own, it is what another Python brings, and may be another
    release.
    """
    import importlib.metadata

    from packaging.version import Version

    if has_usable_pip():
        return Version(importlib.metadata.version("pip")).release
    try:
        import ensurepip
    except ImportError:  # Linux distributions have it in a package of its own
        return ()
    return Version(ensurepip.version()).release
