"""Permissions: whether what stands in a directory may be run, and making directories that may be trusted.

Code is run only from where nobody else can have put it, as ssh judges its files. Every directory on the way is judged,
from the root directory down, links included. So nobody else can put another directory in the place of a judged one:
that takes writing to a directory that was judged before it. The rules (``docs/explanation/security.md``):

* The owner is this user, root, or the owner of the code that runs here.
* Everybody may not write. A group may: group 0, the user's own without another member, and one of this process's groups
  to which the setgid bit gives a directory, as the kubelet prepares a volume for a pod's ``fsGroup``.
* A directory above may also be writable with the sticky bit, as ``/tmp``, and belong to the owner of ``/`` (in a user
  namespace root has another number) or, where group 0 may write to it, to anybody (``/opt/airflow`` of Airflow's
  image): only root and members of group 0 can have given that group to it.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cosmos_venv.exceptions import CosmosValueError, VirtualenvError

NOT_FOR_OTHERS = 0o755
_FOR_A_GROUP = 0o775
_MOST_LINKS = 40  # as the kernel has it


def trusted_owners() -> frozenset[int]:
    """Return the user ids whose files may be run: this user, root, and the owner of the code that runs here.

    An image may be built as one user and run as another, and whoever can write this file can do all that we can.
    """
    return frozenset({os.geteuid(), 0, os.stat(__file__).st_uid})  # noqa: PTH116 - each file of a package comes by here


def why_untrusted(status: os.stat_result) -> str | None:
    """Return who else can have written to a file, as a clause; None when nobody.

    :param status: of the file, as ``lstat`` gives it.
    """
    if status.st_uid not in trusted_owners():
        return f"it belongs to user id {status.st_uid}"
    # A link has every permission bit; where it leads only its owner decides.
    return None if stat.S_ISLNK(status.st_mode) else _who_else_may_write(status)


def judge(*paths: Path, parameter: str = "virtualenv_dir") -> Way:
    """Judge places whose content is run, and all directories on the way to them.

    :param *paths: directories or files; relative ones begin at the working directory.
    :param parameter: the name under which the user gave the first path.
    :returns: the way, as far as it was judged, for what lies below.
    :raises VirtualenvError: naming the first directory that somebody else can write to, its owner and mode.
    :raises FileNotFoundError: when something is missing. What stands above it is judged.
    :raises OSError: when something cannot be looked at.
    """
    way = Way(paths[0], parameter)
    for path in paths:
        way.follow(path)
    return way


def is_trusted_way(path: Path) -> bool:
    """Return whether nobody else can put another directory in the place of ``path``, which itself is not judged.

    :param path: of a directory that need not exist.
    """
    try:
        Way(path, "").follow(path, is_run=False)
    except (VirtualenvError, OSError):
        return False
    return True


def writable_by_others(folder: Path) -> Iterator[tuple[Path, os.stat_result, str]]:
    """Yield what others can write in and below a folder: path, status and who they are, as ``why_untrusted`` returns
    it.

    :param folder: an existing directory.
    :raises OSError: when something cannot be looked at.
    """
    folders = [os.fspath(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                # The owner of a link is that of the folder, which nobody else can write to.
                if not entry.is_symlink() and (reason := why_untrusted(status)):
                    yield Path(entry.path), status, reason
                if stat.S_ISDIR(status.st_mode):
                    folders.append(entry.path)


def directory_mode(text: str) -> int | None:
    """Return the permissions for new directories that a setting gives; None for an empty text.

    :param text: octal digits, such as ``0775``.
    :raises CosmosValueError: naming ``virtualenv_dir_mode``, when it is none, when others might write to such a
        directory, or when its owner might not use it.
    """
    if not text.strip():
        return None
    try:
        mode = int(text.strip(), 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise _wrong_mode(text, "is no octal number of permissions")
    if mode & stat.S_IWOTH:
        raise _wrong_mode(text, "lets everybody write where code is run from, so nothing there would be used")
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        raise _wrong_mode(text, "takes the directory from its own owner")
    return mode


def make_directory(path: Path, mode: int | None = None) -> None:
    """Make a directory and those above it, as ``mkdir -p`` does.

    Users who may not write to the directory above may not write to the new one, whatever the umask.

    :param path: of the directory; it may exist.
    :param mode: permission bits of each directory that is made; None: the group may write where it may in the parent.
    :raises CosmosValueError: when a group might write by this mode that is not trusted.
    :raises OSError: when it cannot be made, or a file stands there.
    """
    if not path.parent.exists():
        make_directory(path.parent, mode)
    above = path.parent.stat()
    group = above.st_gid if above.st_mode & stat.S_ISGID else os.getegid()
    is_shared = group == above.st_gid and above.st_mode & (stat.S_IWGRP | stat.S_ISVTX) == stat.S_IWGRP
    try:
        path.mkdir(mode=_FOR_A_GROUP if is_shared else NOT_FOR_OTHERS)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    if mode is None:
        return
    path.chmod(mode)
    if (reason := why_untrusted(path.stat())) is not None:
        path.rmdir()
        raise _wrong_mode(
            f"{mode:04o}", f"would make {path} untrusted: {reason}; 2775 shares a directory with its group on purpose"
        )


class Way:
    """The way to some places, judged step by step: each directory once.

    :param target: what is refused when a directory on the way to it is.
    :param parameter: what the user gave it as.
    """

    def __init__(self, target: Path, parameter: str) -> None:
        self._target = target
        self._parameter = parameter
        # Whether nobody else can make entries in a judged directory; in one such as /tmp everybody can.
        self._closed: dict[str, bool] = {}
        self._root = os.lstat("/")
        self._judge("/", self._root, is_above=True, is_closed=True)

    def follow(self, path: Path, *, is_run: bool = True) -> str:
        """Judge every step of a path as the kernel takes it, links included. Raises what ``judge`` does.

        :param path: of a directory or file; a relative one begins at the working directory.
        :param is_run: whether the content of ``path`` is run; otherwise it is not judged, and need not exist.
        :returns: the real path.
        """
        here, links = "/", 0
        rest = _names(os.fspath(Path.cwd() / path))
        while rest and (is_run or len(rest) > 1):
            name = rest.pop()
            if name == "..":
                here = os.path.dirname(here)  # noqa: PTH120 - each task comes by here
                continue
            step = os.path.join(here, name)  # noqa: PTH118 - as above
            if step not in self._closed or not rest:
                status = os.lstat(step)
                is_link = stat.S_ISLNK(status.st_mode)
                self._judge(step, status, is_above=bool(rest), is_closed=self._closed[here])
                if is_link:
                    links += 1
                    if links > _MOST_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), step)
                    target = os.readlink(step)  # noqa: PTH115 - text: ".." counts
                    here = "/" if target.startswith("/") else here
                    rest += _names(target)
                    continue
                if rest and not stat.S_ISDIR(status.st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), step)
            here = step
        return here

    def _judge(self, step: str, status: os.stat_result, *, is_above: bool, is_closed: bool) -> None:
        """Judge one step; a directory that is only passed through may belong to others if they can replace no entry.

        :param is_closed: whether nobody else can make entries in the directory in which the step stands.
        """
        reason = why_untrusted(status)
        if reason and not (is_above and self._may_be_passed(status, is_closed=is_closed)):
            raise VirtualenvError(self._refusal(step, status, reason, is_above=is_above))
        if not stat.S_ISLNK(status.st_mode):
            self._closed[step] = _who_else_may_write(status) is None

    def _may_be_passed(self, status: os.stat_result, *, is_closed: bool) -> bool:
        mode = status.st_mode
        owners = trusted_owners() | ({self._root.st_uid} if is_closed else set())
        if status.st_uid not in owners:
            return is_closed and stat.S_ISDIR(mode) and status.st_gid == 0 and mode & stat.S_IWGRP != 0
        return stat.S_ISLNK(mode) or mode & stat.S_ISVTX != 0 or _who_else_may_write(status) is None

    def _refusal(self, step: str, status: os.stat_result, reason: str, *, is_above: bool) -> str:
        mode, path = status.st_mode, shlex.quote(step)
        if status.st_uid not in trusted_owners():
            correction = f"'chown -h {os.geteuid()} {path}'"
        elif mode & stat.S_IWOTH:
            correction = f"'chmod o-w {path}'" + f" ('chmod +t {path}', as /tmp has it, will do)" * is_above
        else:
            correction = f"'chmod g-w {path}' ('chmod g+s {path}' says that the group shares it on purpose)"
        way_out = f"another directory; or, if you know what is in it, correct it with {correction}"
        if mode & stat.S_ISVTX and mode & stat.S_IWOTH and not is_above:
            way_out = f"a folder of its own below it, such as {step}/dbt-environments"
        because = (
            f"{self._target} is not used because of {step} above it:" if is_above else f"{step} is not used because"
        )
        return (
            f"{self._parameter}: {because} {reason} (owner {status.st_uid}, group {status.st_gid}, mode "
            f"{stat.S_IMODE(mode):04o}; this process runs as user id {os.geteuid()}): what stands there may be "
            f"somebody else's. Give {self._parameter} {way_out}."
        )


def _names(path: str) -> list[str]:
    """The steps of a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _who_else_may_write(status: os.stat_result) -> str | None:
    """Return who besides the owner may write, as a clause; None when nobody may."""
    if status.st_mode & stat.S_IWOTH:
        return "everybody may write to it"
    if status.st_mode & stat.S_IWGRP and not _is_trusted_group(status.st_gid, status.st_mode):
        return f"group id {status.st_gid} may write to it"
    return None


def _is_trusted_group(group: int, mode: int) -> bool:
    if stat.S_ISDIR(mode) and mode & stat.S_ISGID and group in {os.getegid(), *os.getgroups()}:
        return True
    return group == 0 or (group == os.getegid() and _is_private_group(group, os.geteuid()))


@cache
def _is_private_group(group: int, user: int) -> bool:
    """Whether a user has it to himself: many systems make one for each user, and let it write what he makes."""
    import grp
    import pwd

    try:
        named = grp.getgrgid(group)
    except KeyError:
        return group == user  # nothing has a name here, as in a container
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        return False
    return named.gr_name == name and set(named.gr_mem) <= {name}


def _wrong_mode(text: str, why: str) -> CosmosValueError:
    return CosmosValueError(
        f"[cosmos_venv] virtualenv_dir_mode = {text.strip()}: it {why}. "
        "Give octal permissions such as 0755, or 2775 for a group that shares the directory."
    )
