"""Whether what stands in a ``virtualenv_dir`` may be run: only where nobody else can have put it. As ssh asks it.

A directory above that all may write, such as ``/tmp``, does no harm: whoever replaces what lies in it owns the new one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from cosmos_venv.exceptions import VirtualenvError

_NOT_FOR_OTHERS = 0o755


def why_untrusted(*, owner: int, group: int, mode: int, uid: int, parent_group: int) -> str | None:
    """Who else can have written there; None when nobody.

    :param mode: as ``lstat`` gives it, the kind of file included.
    :param uid: the user who asks.
    :param parent_group: group of the directory that holds it: OpenShift and Airflow's image share by group.
    """
    if owner not in (uid, 0):
        return f"it belongs to user id {owner}"
    if stat.S_ISLNK(mode):
        return None  # a link has every permission bit; where it leads only its owner decides
    if mode & stat.S_IWOTH:
        return "everybody may write to it"
    if mode & stat.S_IWGRP and group not in (0, parent_group):
        return f"group id {group} may write to it"
    return None


def refuse_untrusted(paths: Iterable[Path]) -> None:
    """What is missing is fine; of a link both itself and what it leads to count.

    :raises VirtualenvError: naming the first path that somebody else can have written, its owner and mode.
    :raises OSError: when one cannot be looked at.
    """
    for path in paths:
        try:
            status = path.lstat()
            _refuse_untrusted(path, status)
            if stat.S_ISLNK(status.st_mode):
                _refuse_untrusted(path.resolve(), path.stat())
        except FileNotFoundError:
            continue


def make_directory(path: Path) -> None:
    """As ``mkdir -p``, but nobody may write to the new directory who would make it untrusted, whatever the umask.

    :raises OSError: when it cannot be made, or a file stands there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=_NOT_FOR_OTHERS)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    status = path.stat()
    if not _umask() & stat.S_IWGRP and status.st_gid in (0, path.parent.stat().st_gid):
        path.chmod(stat.S_IMODE(status.st_mode) | stat.S_IWGRP)


def _refuse_untrusted(path: Path, status: os.stat_result) -> None:
    reason = why_untrusted(
        owner=status.st_uid,
        group=status.st_gid,
        mode=status.st_mode,
        uid=os.geteuid(),
        parent_group=path.parent.stat().st_gid,
    )
    if reason is None:
        return
    raise VirtualenvError(
        f"virtualenv_dir: {path} is not used because {reason} (owner {status.st_uid}, group {status.st_gid}, mode "
        f"{stat.S_IMODE(status.st_mode):04o}; this process runs as user id {os.geteuid()}): what stands there may be "
        f"somebody else's. Remove it, or, if you know what is in it, correct it with 'chown {os.geteuid()}' and "
        "'chmod go-w'; or give virtualenv_dir another directory: one of your own below it will do."
    )


def _umask() -> int:
    """Only setting it tells it; for that moment it is stricter, never laxer."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
