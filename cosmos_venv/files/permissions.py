"""Permissions: whether what stands in a directory may be run, and making directories that may be trusted.

Code is run only from where nobody else can have put it, as ssh judges its files. Every directory on the way is judged,
from the root directory down, links included. So nobody else can put another one in the place of what was judged: that
takes writing to a directory that was judged before it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cosmos_venv.exceptions import CosmosValueError, VirtualenvError

NOT_FOR_OTHERS = 0o755
_ALL_BITS = 0o7777
_MOST_LINKS = 40  # as the kernel has it


@dataclass(frozen=True, kw_only=True)
class Writers:
    """The users and groups that may write to a place without making it untrusted.

    :param owners: user ids.
    :param groups: group ids: 0, and those that may write further up, where they could replace all that is below.
    """

    owners: frozenset[int]
    groups: frozenset[int]

    def why_untrusted(self, status: os.stat_result) -> str | None:
        """Return who else can have written to a file, as a clause; None when nobody.

        :param status: of the file, as ``lstat`` gives it.
        """
        return why_untrusted(
            owner=status.st_uid,
            group=status.st_gid,
            mode=status.st_mode,
            owners=self.owners,
            groups=self.groups,
        )


def trusted_owners() -> frozenset[int]:
    """Return the user ids whose files may be run: this user, root, and the owner of the code that runs here.

    An image may be built as one user and run as another, and whoever can write this file can do all that we can.
    """
    return frozenset({os.geteuid(), 0, os.stat(__file__).st_uid})  # noqa: PTH116 - each task comes by here


def why_untrusted(*, owner: int, group: int, mode: int, owners: Collection[int], groups: Collection[int]) -> str | None:
    """Return who else can have written to a file, as a clause; None when nobody.

    A directory with the setgid bit that its group may write to is shared on purpose: it is trusted by the members of
    that group. So is one whose group is this user's alone. See ``docs/explanation/security.md``.

    :param owner: user id of the file.
    :param group: group id of the file.
    :param mode: as ``lstat`` gives it, the kind of file included.
    :param owners: the user ids whose files may be run.
    :param groups: the group ids that may write.
    """
    if owner not in owners:
        return f"it belongs to user id {owner}"
    if stat.S_ISLNK(mode):
        return None  # a link has every permission bit; where it leads only its owner decides
    return _who_else_may_write(group, mode, groups)


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
        way = Way(path, "")
        way.follow(path, is_run=False)
    except (VirtualenvError, OSError):
        return False
    return True


def writable_by_others(folder: Path, writers: Writers) -> Iterator[tuple[Path, os.stat_result, str]]:
    """Yield what others can write in and below a folder: path, status and who they are, as ``why_untrusted`` returns
    it.

    Links are left out: their owner is that of the folder, which nobody else can write to.

    :param folder: an existing directory.
    :param writers: who may write there.
    :raises OSError: when something cannot be looked at.
    """
    folders = [os.fspath(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    continue
                status = entry.stat(follow_symlinks=False)
                if reason := writers.why_untrusted(status):
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
    if not 0 <= mode <= _ALL_BITS:
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
    :raises CosmosValueError: when the group might write by this mode and is none that is trusted.
    :raises OSError: when it cannot be made, or a file stands there.
    """
    if not path.parent.exists():
        make_directory(path.parent, mode)
    try:
        path.mkdir(mode=NOT_FOR_OTHERS)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    status, above = path.stat(), path.parent.stat()
    if mode is not None:
        _set_mode(path, status, above, mode)
    elif _shares_with(status.st_gid, above) and not umask() & stat.S_IWGRP:
        path.chmod(stat.S_IMODE(status.st_mode) | stat.S_IWGRP)


def umask() -> int:
    """Return the umask of this process as the kernel shows it.

    ``os.umask`` would set another one for a moment, for all threads.
    """
    try:
        _, _, shown = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").partition("\nUmask:")
    except OSError:  # macOS
        shown = ""
    if not shown:  # Linux before 4.7 too
        shown = f"{os.umask(0o077):o}"
        os.umask(int(shown, 8))
    return int(shown.split(None, 1)[0], 8)


class Way:
    """The way to some places, judged step by step: each directory once.

    :param target: what is refused when a directory on the way to it is.
    :param parameter: what the user gave it as.
    """

    def __init__(self, target: Path, parameter: str) -> None:
        self._target = target
        self._parameter = parameter
        self._owners = trusted_owners()
        self._groups = {0}
        # In a user namespace root has another number. Whoever owns "/" has the last word on every program.
        root = os.stat("/")  # noqa: PTH116 - as above
        self._owners_above = self._owners | {root.st_uid}
        # Whether nobody else can make entries in a directory; in one such as /tmp entries of anybody may stand.
        self._closed: dict[str, bool] = {}
        self._enter("/", root, is_closed_above=True)

    @property
    def writers(self) -> Writers:
        """The owners and groups that may write to the last place of the path."""
        return Writers(owners=self._owners, groups=frozenset(self._groups))

    def follow(self, path: Path, *, is_run: bool = True) -> str:
        """Judge every step of a path as the kernel takes it, links included. Raises what ``judge`` does.

        :param path: of a directory or file; a relative one begins at the working directory.
        :param is_run: whether the content of ``path`` is run; otherwise it is not judged, and need not exist.
        :returns: the real path.
        """
        here, links = "/", 0
        rest = _names(os.fspath(path if path.is_absolute() else Path.cwd() / path))
        while rest:
            if not is_run and len(rest) == 1:
                break
            name = rest.pop()
            if name == "..":
                here = os.path.dirname(here)  # noqa: PTH120 - each task comes by here
                continue
            step = f"{here if here != '/' else ''}/{name}"
            if step in self._closed and rest:
                here = step
                continue
            status = os.lstat(step)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), step)
                if status.st_uid not in self._owners and not rest:
                    raise VirtualenvError(self._refusal_of_content(step, status, self._why_untrusted(status)))
                self._judge_owner(step, status, is_closed_above=self._closed[here])
                target = os.readlink(step)  # noqa: PTH115 - text: ".." counts
                here = "/" if target.startswith("/") else here
                rest += _names(target)
                continue
            if rest:
                self._enter(step, status, is_closed_above=self._closed[here])
            elif reason := self._why_untrusted(status):
                raise VirtualenvError(self._refusal_of_content(step, status, reason))
            else:
                self._accept(step, status, is_closed=True)
            here = step
        return here

    def _why_untrusted(self, status: os.stat_result) -> str | None:
        return why_untrusted(
            owner=status.st_uid, group=status.st_gid, mode=status.st_mode, owners=self._owners, groups=self._groups
        )

    def _enter(self, step: str, status: os.stat_result, *, is_closed_above: bool) -> None:
        """Judge a directory that is only passed through: others may write to it if they can replace no entry."""
        self._judge_owner(step, status, is_closed_above=is_closed_above)
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), step)
        reason = _who_else_may_write(status.st_gid, status.st_mode, self._groups)
        if reason and not status.st_mode & stat.S_ISVTX:
            raise VirtualenvError(self._refusal_of_way(step, status, reason))
        self._accept(step, status, is_closed=reason is None)

    def _judge_owner(self, step: str, status: os.stat_result, *, is_closed_above: bool) -> None:
        if status.st_uid in (self._owners_above if is_closed_above else self._owners):
            return
        # Only root and members of group 0, who may write there anyway, give a directory that group: Airflow's image.
        if is_closed_above and status.st_gid == 0 and status.st_mode & stat.S_IWGRP and stat.S_ISDIR(status.st_mode):
            return
        raise VirtualenvError(self._refusal_of_way(step, status, f"it belongs to user id {status.st_uid}"))

    def _accept(self, step: str, status: os.stat_result, *, is_closed: bool) -> None:
        self._closed[step] = is_closed
        if status.st_mode & stat.S_IWGRP and is_closed and not status.st_mode & stat.S_ISVTX:
            self._groups.add(status.st_gid)

    def _refusal_of_content(self, step: str, status: os.stat_result, reason: str | None) -> str:
        if status.st_mode & stat.S_IWOTH and status.st_mode & stat.S_ISVTX and not stat.S_ISLNK(status.st_mode):
            way_out = f"Give {self._parameter} a folder of its own below it, such as {step}/dbt-environments"
        else:
            correction = self._correction(step, status, is_above=False)
            way_out = f"Give {self._parameter} another directory; or, if you know what is in it, {correction}"
        return (
            f"{self._parameter}: {step} is not used because {reason} {_facts(status)}: what stands there may be "
            f"somebody else's. {way_out}."
        )

    def _refusal_of_way(self, step: str, status: os.stat_result, reason: str) -> str:
        return (
            f"{self._parameter}: {self._target} is not used because of {step} above it: {reason} {_facts(status)}, so "
            "that something else can be put in the place of what stands below. "
            f"Give {self._parameter} a directory that only user id {os.geteuid()} and root can replace; or "
            f"{self._correction(step, status, is_above=True)}."
        )

    def _correction(self, step: str, status: os.stat_result, *, is_above: bool) -> str:
        """The way out for a place, as a shell command."""
        import shlex

        commands, more, path = [], "", shlex.quote(step)
        is_link = stat.S_ISLNK(status.st_mode)
        if status.st_uid not in (self._owners_above if is_above else self._owners):
            commands.append(f"'chown {'-h ' * is_link}{os.geteuid()} {path}'")
        if not is_link and status.st_mode & stat.S_IWOTH:
            commands.append(f"'chmod o-w {path}'")
            if is_above:
                more = f" ('chmod +t {path}', as /tmp has it, will do)"
        elif not is_link and _who_else_may_write(status.st_gid, status.st_mode, self._groups):
            commands.append(f"'chmod g-w {path}'")
            if stat.S_ISDIR(status.st_mode) and _is_member(status.st_gid):
                more = f" ('chmod g+s {path}' says that the group shares it on purpose)"
        return f"correct it with {' and '.join(commands)}{more}"


def _names(path: str) -> list[str]:
    """The steps of a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _who_else_may_write(group: int, mode: int, groups: Collection[int]) -> str | None:
    """Return who besides the owner may write, as a clause; None when nobody may."""
    if mode & stat.S_IWOTH:
        return "everybody may write to it"
    if mode & stat.S_IWGRP and group not in groups and not _is_shared_on_purpose(group, mode):
        return f"group id {group} may write to it"
    return None


def _facts(status: os.stat_result) -> str:
    return (
        f"(owner {status.st_uid}, group {status.st_gid}, mode {stat.S_IMODE(status.st_mode):04o}; "
        f"this process runs as user id {os.geteuid()})"
    )


def _is_shared_on_purpose(group: int, mode: int) -> bool:
    """Whether a group that may write is this user's alone, or one that a directory was given to by its setgid bit."""
    if stat.S_ISDIR(mode) and mode & stat.S_ISGID and _is_member(group):
        return True  # the kubelet prepares a volume so for a pod's fsGroup
    return group == os.getegid() and _is_private_group(group, os.geteuid())


def _is_member(group: int) -> bool:
    return group == os.getegid() or group in os.getgroups()


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


def _shares_with(group: int, above: os.stat_result) -> bool:
    """Whether a group may write to the directory above, and replace what is in it."""
    return group == above.st_gid and above.st_mode & (stat.S_IWGRP | stat.S_ISVTX) == stat.S_IWGRP


def _set_mode(path: Path, status: os.stat_result, above: os.stat_result, mode: int) -> None:
    group = status.st_gid
    shared = group == 0 or _shares_with(group, above) or _is_shared_on_purpose(group, stat.S_IFDIR | mode)
    if mode & stat.S_IWGRP and not shared:
        path.rmdir()
        raise _wrong_mode(
            f"{mode:04o}",
            f"would let group id {group} write to {path}, and only group 0 and one that may write to {path.parent} "
            f"are trusted ('chmod g+ws {path.parent}' shares that with its group, {above.st_gid})",
        )
    path.chmod(mode)


def _wrong_mode(text: str, why: str) -> CosmosValueError:
    return CosmosValueError(
        f"[cosmos_venv] virtualenv_dir_mode = {text.strip()}: it {why}. "
        "Give octal permissions such as 0755, or 2775 for a group that shares the directory."
    )
