"""Files and directories of ours, in folders that others may reach: judged, made, opened and replaced.

Code is run only from places where nobody else can have put it, as ssh judges its files. Every directory on the way is
judged, from the root directory down, links included. So nobody else can replace a judged directory: that needs write
permission on a directory that was judged before. The rules (``docs/explanation/security.md``):

* The owner is this user, root, or the owner of the code that runs here.
* The place is not writable for everybody. Three groups may write: group 0; the user's own group, which has the number
  of the user; and a group of this process, if the directory has the setgid bit. The kubelet prepares a volume for a
  pod's ``fsGroup`` with this bit.
* A directory above may also be writable for everybody with the sticky bit, as ``/tmp``. It may belong to the owner of
  ``/`` (in a user namespace root has another number). If group 0 may write to a directory above, any user may own this
  directory, as ``/opt/airflow`` in Airflow's image: only root and members of group 0 can have given it group 0.
* ``[cosmos_venv] virtualenv_dir_may_be_open`` is for a mount that forces mode 0777: then only the owners are judged.

An installation on a ``noexec`` mount succeeds, but its commands cannot run. Its Python does run, since that is a link
to a program elsewhere. So such a mount is refused before anything is built. Mounted object stores, SMB and FAT have no
hard links: the lock refuses them.

Files are opened only as the plain files they are, and made with known permissions. Something else in their place (a
link, a directory, or a named pipe, on which an ordinary open waits for ever) is an error. Where others read meanwhile,
a new file is written under a temporary name ("a name apart") and renamed, which is atomic (``replace_atomically``).
``sweep_abandoned`` removes what a killed process has left under such a name.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cosmos_venv.exceptions import CosmosValueError, VirtualenvError

NOT_FOR_OTHERS = 0o755
_FOR_A_GROUP = 0o775
_FOR_ALL_TO_READ = 0o644
_OF_ANOTHER_KIND = {errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR, errno.ENODEV, errno.ENOTDIR}
ABANDONED_SECONDS = 3_600.0
"""Age in seconds at which a file under a name apart counts as left by a killed process: no writer takes that long."""

_APART = r"\.[0-9a-f]{32}"  # compiled on first use: each parse for a task imports this file
_UNQUOTABLE = '\n"$`'


def trusted_owners() -> frozenset[int]:
    """Return the user ids whose files may be run: this user, root, and the owner of the code that runs here.

    An image may be built as one user and run as another. A user who can write this file can do all that we can.
    """
    return frozenset({os.geteuid(), 0, os.stat(__file__).st_uid})  # noqa: PTH116 - each file of a package comes by here


def why_untrusted(status: os.stat_result) -> str | None:
    """Return who else can have written to a file, as a clause; None when nobody.

    :param status: of the file, as ``lstat`` gives it.
    """
    if status.st_uid not in trusted_owners():
        return f"it belongs to user id {status.st_uid}"
    # Every link has mode 0777, which lets nobody change it: only the owner of a link is judged.
    return None if stat.S_ISLNK(status.st_mode) else _who_else_may_write(status)


def refuse_untrusted(*paths: Path, parameter: str = "virtualenv_dir", is_open_allowed: bool = False) -> None:
    """Judge places whose content is run, and all directories on the way to them.

    :param *paths: directories or files; relative ones begin at the working directory.
    :param parameter: the name under which the user gave the first path.
    :param is_open_allowed: whether only the owners are judged, and not the permissions of others to write.
    :raises VirtualenvError: naming the first directory that somebody else can write to, its owner and mode.
    :raises FileNotFoundError: when something is missing. The directories above it have been judged then.
    :raises OSError: when something cannot be looked at.
    """
    for path in paths:
        place = os.fspath(Path.cwd() / path)
        ends = {place, os.path.realpath(place)}
        for step in _steps(place, set()):
            status = os.lstat(step)
            is_above = step not in ends
            reason = why_untrusted(status)
            if reason is None or (is_open_allowed and status.st_uid in trusted_owners()):
                continue
            if not (is_above and _is_safe_to_traverse(step, status)):
                target = paths[0] if is_above else Path(step)
                raise VirtualenvError(_refusal(target, step, status, reason, parameter))


def is_trusted_path(path: Path) -> bool:
    """Return whether nobody else can put another directory in the place of ``path``. ``path`` itself is not judged.

    :param path: of a directory that need not exist.
    """
    try:
        steps = [(step, os.lstat(step)) for step in _steps(os.fspath(Path.cwd() / path.parent), set())]
        return all(why_untrusted(status) is None or _is_safe_to_traverse(step, status) for step, status in steps)
    except OSError:
        return False


def writable_by_others(folder: Path) -> Iterator[tuple[Path, os.stat_result, str]]:
    """Yield each file and directory below a folder that others can write: path, status and clause of ``why_untrusted``.

    :param folder: an existing directory.
    :raises OSError: when something cannot be looked at.
    """
    folders = [os.fspath(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                # A link is not judged: only a user who may write to its folder can have made it.
                if not entry.is_symlink() and (reason := why_untrusted(status)):
                    yield Path(entry.path), status, reason
                if stat.S_ISDIR(status.st_mode):
                    folders.append(entry.path)


def directory_mode(text: str) -> int | None:
    """Return the permissions for new directories that a setting gives; None for an empty text.

    :param text: octal digits, such as ``0775``.
    :raises CosmosValueError: naming ``virtualenv_dir_mode``, when the text is no such number.
    """
    if not text.strip():
        return None
    digits = text.strip().removeprefix("0o")
    if not re.fullmatch("[0-7]{1,5}", digits):
        raise _wrong_mode(text, "is no octal number of permissions")
    return int(digits, 8)


def make_directory(path: Path, mode: str = "") -> None:
    """Make a directory and those above it, as ``mkdir -p`` does.

    Users who may not write to the directory above may not write to the new one, whatever the umask.

    :param path: of the directory; it may exist.
    :param mode: permissions of each directory that is made, as ``[cosmos_venv] virtualenv_dir_mode`` has them; empty:
        the group may write if the group of the parent is the same and may write there.
    :raises CosmosValueError: when ``mode`` is no mode, or would let a group write that is not trusted.
    :raises OSError: when it cannot be made, or a file stands there.
    """
    bits = directory_mode(mode)
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
    if bits is None:
        return
    path.chmod(bits)
    if (reason := why_untrusted(path.stat())) is not None:
        path.rmdir()
        raise _wrong_mode(
            mode, f"would make {path} untrusted: {reason}; 2775 shares a directory with its group on purpose"
        )


def refuse_noexec(directory: Path, *, parameter: str = "virtualenv_dir") -> None:
    """Refuse a directory whose file system starts no program.

    :param directory: an existing directory.
    :param parameter: what the user would change; begins the message.
    :raises VirtualenvError: when it is mounted noexec.
    :raises OSError: when its file system cannot be asked.
    """
    if os.statvfs(directory).f_flag & getattr(os, "ST_NOEXEC", 0):
        raise unfit(directory, "is mounted noexec: no program in it can be started", parameter=parameter)


def refuse_unfit_path(build: Path) -> None:
    """Refuse a path with a character that a shell acts on: installers write the path into the first lines of commands.

    :param build: directory of the environment.
    :raises VirtualenvError: names ``virtualenv_dir`` and the character.
    """
    character = next((character for character in _UNQUOTABLE if character in str(build)), "")
    if character:
        raise VirtualenvError(
            f"virtualenv_dir: {str(build)!r} has {character!r} in it, and commands that are installed there could not "
            "be started. Give virtualenv_dir a path without it."
        )


def unfit(directory: Path, fault: str, *, parameter: str = "virtualenv_dir") -> VirtualenvError:
    """Return the error for a directory whose file system cannot hold environments.

    :param directory: the directory in question.
    :param fault: the second half of a sentence about its file system: "does not support symbolic links".
    :param parameter: the name under which the user gave the directory.
    """
    return VirtualenvError(
        f"{parameter} {directory}: its file system {fault}. Use a directory on a local disk or on a network file "
        "system such as NFS 4, mounted with exec; a mounted object store (S3, GCS, Azure Blob) is none. "
        "For environments that come with the image, run cosmos-venv env warm when it is made."
    )


class OddFile(OSError):
    """Something that is no plain file has the name of a file of ours."""


def open_own(path: Path, flags: int, mode: int = _FOR_ALL_TO_READ) -> int:
    """Open a plain file. The last part of the path is not followed when it is a link; no named pipe is waited for.

    :param path: where the file stands, or is made.
    :param flags: as for ``os.open``.
    :param mode: permission bits where the file is made; the umask can only take some away.
    :returns: the file descriptor, which the caller closes.
    :raises OddFile: when something else stands there.
    :raises OSError: when it cannot be opened.
    """
    odd = OddFile(errno.EINVAL, "it is a link, a named pipe, or another thing that is no plain file", str(path))
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    except OSError as error:
        if error.errno in _OF_ANOTHER_KIND and os.path.lexists(path):
            raise odd from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise odd
    return descriptor


def write_new(path: Path, content: str | bytes, mode: int = _FOR_ALL_TO_READ) -> None:
    """Make a file. After an error no part of the file is left.

    :param path: where the file is made.
    :param content: text (written as UTF-8) or bytes.
    :param mode: permission bits of the file; the umask can only take some away.
    :raises FileExistsError: when anything stands there, a dangling link included.
    :raises OSError: when it cannot be made.
    """
    descriptor = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - of a descriptor
            file.write(content.encode() if isinstance(content, str) else content)
    except BaseException:
        path.unlink(missing_ok=True)  # the disk is full
        raise


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yield a free name beside ``path``; after the block, what was made under that name replaces ``path`` atomically.

    The block may make a file or a link, or a directory where ``path`` does not exist. Readers see the old or the new
    content, never half of it. After an error in the block ``path`` is unchanged, and nothing new is left.

    :param path: of what is replaced, or made.
    :raises OSError: when it cannot be put in its place.
    """
    with temporary_name(path.parent) as apart:
        yield apart
        apart.replace(path)


@contextmanager
def temporary_name(folder: Path) -> Iterator[Path]:
    """Yield a free name in a folder; what stands under that name after the block is removed.

    For a caller that renames the new file within the block. Other callers take ``replace_atomically``.

    :param folder: in which something is made.
    """
    apart = folder / f".{os.urandom(16).hex()}"
    try:
        yield apart
    finally:
        remove_temporary(apart)


def remove_temporary(path: Path) -> None:
    """Remove what stands under a name apart, if anything does. An error is ignored: a sweep tries again later.

    :param path: of a file, a link or a directory.
    """
    if path.is_dir() and not path.is_symlink():
        import shutil  # for the few that have made a directory

        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink(missing_ok=True)


def abandoned(folder: Path, *, seconds: float = ABANDONED_SECONDS) -> list[Path]:
    """Return what killed processes have left in a folder under names apart; none where there is no such folder.

    :param folder: in which ``replace_atomically`` makes its names.
    :param seconds: age at which a name counts. 0: every name counts, also a name with a time in the future, as the
        clock of an NFS server may be ahead. Only for a caller whose lock keeps other processes from making such names.
    :raises OSError: when the folder cannot be read.
    """
    try:
        found = [path for path in folder.iterdir() if re.fullmatch(_APART, path.name)]
        return [path for path in found if not seconds or age(path.lstat().st_mtime) >= seconds]
    except (FileNotFoundError, NotADirectoryError):  # another process sweeps too
        return []


def sweep_abandoned(folder: Path) -> None:
    """Remove from a folder what killed processes have left under names apart for more than an hour.

    :param folder: in which ``replace_atomically`` makes its names.
    :raises OSError: when the folder cannot be read.
    """
    for path in abandoned(folder):
        remove_temporary(path)


def age(modified: float) -> float:
    """Return the seconds since a file was written, by its time.

    :param modified: seconds since the epoch.
    """
    return time.time() - modified


def make_private(folder: Path) -> None:
    """Make a folder and its parent for this user alone. Folders above the parent get the usual permissions.

    :param folder: the folder of our files.
    """
    make_directory(folder.parent.parent)
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def is_private(folder: Path) -> bool:
    """Whether nobody else can put a file into the folder, or replace it: what is read there decides which SQL runs.

    :param folder: the folder of our files.
    """
    try:
        found = [path.lstat() for path in (folder.parent, folder)]
    except OSError:
        return False
    return all(
        stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022 for status in found
    ) and is_trusted_path(folder.parent)


def shut_out_others(folder: Path) -> None:
    """Remove the write permission of others from everything below a folder.

    :param folder: an existing directory of this user.
    :raises OSError: when that cannot be done.
    """
    for path, status, _ in list(writable_by_others(folder)):
        path.chmod(status.st_mode & NOT_FOR_OTHERS)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add this path to an error without a file name: an error of a full disk while a file is written has none.

    :param path: of the file that the block works on.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def _steps(path: str, seen: set[str]) -> Iterator[str]:
    """Yield each directory and link on the way to a place as the kernel takes it, from the root directory down."""
    if path in seen:  # a link to itself
        return
    seen.add(path)
    above, name = os.path.split(path)
    if name:
        yield from _steps(above, seen)
    yield path
    if os.path.islink(path):  # noqa: PTH114 - each task comes by here
        yield from _steps(os.path.join(above, os.readlink(path)), seen)  # noqa: PTH115, PTH118 - text: ".." counts


def _is_safe_to_traverse(step: str, status: os.stat_result) -> bool:
    """Return whether nobody else can replace an entry of a directory that is only passed through."""
    mode = status.st_mode
    if status.st_uid not in trusted_owners():
        # In a directory such as /tmp everybody can make an entry with this owner or group.
        if _who_else_may_write(os.stat(os.path.dirname(step))) is not None:  # noqa: PTH116, PTH120 - as above
            return False
        if status.st_uid != os.stat("/").st_uid:  # noqa: PTH116 - as above
            return stat.S_ISDIR(mode) and status.st_gid == 0 and mode & stat.S_IWGRP != 0
    return stat.S_ISLNK(mode) or mode & stat.S_ISVTX != 0 or _who_else_may_write(status) is None


def _refusal(target: Path, step: str, status: os.stat_result, reason: str, parameter: str) -> str:
    mode, path, is_above = status.st_mode, shlex.quote(step), str(target) != step
    correction = f"'chmod g-w {path}' ('chmod g+s {path}' says that the group shares it on purpose)"
    if status.st_uid not in trusted_owners():
        correction = f"'chown -h {os.geteuid()} {path}'"
    elif mode & stat.S_IWOTH:
        correction = f"'chmod o-w {path}'" + f" ('chmod +t {path}', as /tmp has it, will do)" * is_above
        correction += "; a mount that forces this mode takes [cosmos_venv] virtualenv_dir_may_be_open = True"
    way_out = f"another directory; or, if you know what is in it, correct it with {correction}"
    if mode & stat.S_ISVTX and mode & stat.S_IWOTH and not is_above:
        way_out = f"a folder of its own below it, such as {step}/dbt-environments"
    because = f"of {step} above it: {reason}" if is_above else reason
    return (
        f"{parameter}: {target} is not used because {because} (owner {status.st_uid}, group {status.st_gid}, mode "
        f"{stat.S_IMODE(mode):04o}; this process runs as user id {os.geteuid()}): what stands there may be "
        f"somebody else's. Give {parameter} {way_out}."
    )


def _who_else_may_write(status: os.stat_result) -> str | None:
    """Return who besides the owner may write, as a clause; None when nobody may."""
    mode, group = status.st_mode, status.st_gid
    if mode & stat.S_IWOTH:
        return "everybody may write to it"
    is_shared = stat.S_ISDIR(mode) and mode & stat.S_ISGID and group in {os.getegid(), *os.getgroups()}
    if mode & stat.S_IWGRP and not (group == 0 or group == os.getegid() == os.geteuid() or is_shared):
        return f"group id {group} may write to it"
    return None


def _wrong_mode(text: str, why: str) -> CosmosValueError:
    return CosmosValueError(
        f"[cosmos_venv] virtualenv_dir_mode = {text.strip()}: it {why}. "
        "Give octal permissions such as 0755, or 2775 for a group that shares the directory."
    )
