"""Whether what stands in a ``virtualenv_dir`` may be run: only where nobody else can have put it. As ssh asks it.

Looked at is what we made, not the directories above: a store below a folder that somebody else may rename is only as
safe as that folder. Below ``/tmp`` and its like only the owner of an entry can rename it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable
from pathlib import Path

from cosmos_venv.exceptions import CosmosValueError, VirtualenvError

_NOT_FOR_OTHERS = 0o755
_ALL_BITS = 0o7777


def trusted_owners() -> frozenset[int]:
    """This user, root, and whoever owns the code that runs here: an image may be built as one user and run as another,
    and who can write this file can do all that we can."""
    return frozenset({os.geteuid(), 0, Path(__file__).stat().st_uid})


def why_untrusted(*, owner: int, group: int, mode: int, trusted: Collection[int], parent_group: int) -> str | None:
    """Who else can have written there; None when nobody.

    :param mode: as ``lstat`` gives it, the kind of file included.
    :param trusted: the user ids whose files may be run.
    :param parent_group: group of the directory that holds it: OpenShift and Airflow's image share by group.
    """
    if owner not in trusted:
        return f"it belongs to user id {owner}"
    if stat.S_ISLNK(mode):
        return None  # a link has every permission bit; where it leads only its owner decides
    if mode & stat.S_IWOTH:
        return "everybody may write to it"
    if mode & stat.S_IWGRP and group not in (0, parent_group):
        return f"group id {group} may write to it"
    return None


def refuse_untrusted(paths: Iterable[Path], *, parameter: str = "virtualenv_dir") -> None:
    """What is missing is fine; of a link both itself and what it leads to count.

    :param parameter: what the user gave the directory as.
    :raises VirtualenvError: naming the first path that somebody else can have written, its owner and mode.
    :raises OSError: when one cannot be looked at.
    """
    for path in paths:
        try:
            status = path.lstat()
            _refuse_untrusted(path, status, parameter)
            if stat.S_ISLNK(status.st_mode):
                _refuse_untrusted(path.resolve(), path.stat(), parameter)
        except FileNotFoundError:
            continue


def directory_mode(text: str) -> int | None:
    """Permissions for new directories as a user writes them: octal, such as ``0775``; None for an empty text.

    :raises CosmosValueError: naming ``virtualenv_dir_mode``, when it is none, when others might write to such a
        directory, or when its owner might not use it.
    """
    if not text.strip():
        return None
    try:
        mode = int(text.strip(), 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= _ALL_BITS:
        raise _wrong_mode(text, "is no octal number of permissions")
    if mode & stat.S_IWOTH:
        raise _wrong_mode(text, "lets everybody write where code is run from, so nothing there would be used")
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        raise _wrong_mode(text, "takes the directory from its own owner")
    return mode


def make_directory(path: Path, mode: int | None = None) -> None:
    """As ``mkdir -p``, but nobody may write to the new directory who would make it untrusted, whatever the umask.

    :param mode: permissions of each directory that is made; None: the group may write where it may in the parent.
    :raises CosmosValueError: when the group might write by this mode and is none that is trusted.
    :raises OSError: when it cannot be made, or a file stands there.
    """
    if not path.parent.exists():
        make_directory(path.parent, mode)
    try:
        path.mkdir(mode=_NOT_FOR_OTHERS)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    status = path.stat()
    if mode is not None:
        _set_mode(path, status, mode)
    elif not _umask() & stat.S_IWGRP and status.st_gid in (0, path.parent.stat().st_gid):
        path.chmod(stat.S_IMODE(status.st_mode) | stat.S_IWGRP)


def _set_mode(path: Path, status: os.stat_result, mode: int) -> None:
    parent_group = path.parent.stat().st_gid
    if mode & stat.S_IWGRP and status.st_gid not in (0, parent_group):
        path.rmdir()
        raise _wrong_mode(
            f"{mode:04o}",
            f"would let group id {status.st_gid} write to {path}, and only group 0 and that of {path.parent} "
            f"({parent_group}) are trusted (chmod g+s {path.parent} gives its group to what is made there)",
        )
    path.chmod(mode)


def _wrong_mode(text: str, why: str) -> CosmosValueError:
    return CosmosValueError(
        f"[cosmos_venv] virtualenv_dir_mode = {text.strip()}: it {why}. "
        "Give octal permissions such as 0755, or 0775 for a group that shares the directory."
    )


def _refuse_untrusted(path: Path, status: os.stat_result, parameter: str) -> None:
    reason = why_untrusted(
        owner=status.st_uid,
        group=status.st_gid,
        mode=status.st_mode,
        trusted=trusted_owners(),
        parent_group=path.parent.stat().st_gid,
    )
    if reason is None:
        return
    raise VirtualenvError(
        f"{parameter}: {path} is not used because {reason} (owner {status.st_uid}, group {status.st_gid}, mode "
        f"{stat.S_IMODE(status.st_mode):04o}; this process runs as user id {os.geteuid()}): what stands there may be "
        f"somebody else's. Remove it, or, if you know what is in it, correct it with 'chown {os.geteuid()}' and "
        f"'chmod go-w'; or give {parameter} another directory: one of your own below it will do."
    )


def _umask() -> int:
    """Only setting it tells it; for that moment it is stricter, never laxer."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
