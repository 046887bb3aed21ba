"""The pip that installs where uv does not: the worker's own, or the one that comes with its Python."""

from __future__ import annotations

import site
from pathlib import Path

from cosmos_venv.environments.bundled_pip import RUNNER

_OLDEST = "22.3"  # the first that installs into another Python (pip --python)


def own_pip() -> Path | None:
    """The program of this Python's pip that runs it on another one; None where it has none that could be used."""
    import importlib.util

    found = importlib.util.find_spec("pip") if has_usable_pip() else None
    runner = Path(found.origin).parent / RUNNER.name if found is not None and found.origin else None
    return runner if runner is not None and runner.is_file() else None


def has_usable_pip() -> bool:
    """Whether this Python has a pip that fills other environments, and sees it when run isolated (-I)."""
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
    """The release of the pip that installs; empty where it is not known.

    Where neither it nor the interpreter is the worker's own, it is what another Python brings, and may be another one.
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
