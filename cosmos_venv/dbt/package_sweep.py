"""Which kept packages go, and how: never those that somebody uses."""

from __future__ import annotations

import shutil
import uuid
from contextlib import closing, suppress
from pathlib import Path

from cosmos_venv.lease import Lease, lease_path
from cosmos_venv.own_files import age

_KEPT_COUNT = 50
_KEPT_SECONDS = 30 * 86_400.0
_ABANDONED_SECONDS = 3_600.0


def sweep(folder: Path) -> None:
    """Remove what was left half, what a newer one stands for, and what nobody has used for long."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return  # another one sweeps
    kept = sorted((path for path in paths if path.is_dir() and not path.name.startswith(".")), key=_age)
    newest = {path.stem: path for path in sorted(kept)}
    for number, path in enumerate(kept):
        if newest[path.stem] != path or number >= _KEPT_COUNT or _age(path) > _KEPT_SECONDS:
            _remove(path)
    for path in set(paths).difference(kept):
        if path.suffix == ".lease":
            _remove_if_alone(path)
        elif _age(path) > (_ABANDONED_SECONDS if path.name.startswith(".") else _KEPT_SECONDS):
            _delete(path)


def _remove(path: Path) -> None:
    """Remove an installation, unless it is in use or another user's."""
    rubbish = path.with_name(f".{uuid.uuid4().hex}")
    with suppress(OSError):
        lease = Lease.exclusive(path)
        if lease is None:
            return
        with closing(lease):
            if not lease.is_of(path):
                return
            path.rename(rubbish)
            lease_path(path).unlink()
        _delete(rubbish)


def _remove_if_alone(file: Path) -> None:
    """Remove the lease of an installation that is gone, or was never published."""
    path = file.with_suffix("")
    with suppress(OSError):
        if path.exists() or (lease := Lease.exclusive(path)) is None:
            return
        with closing(lease):
            if lease.is_of(path) and not path.exists():
                file.unlink()


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):  # another user's
        path.unlink()


def _age(path: Path) -> float:
    """Seconds since it was last used; since it was made, where nobody may note a use; 0 when it is gone."""
    for each in (lease_path(path), path):
        with suppress(OSError):
            return age(each.lstat().st_mtime)
    return 0.0
