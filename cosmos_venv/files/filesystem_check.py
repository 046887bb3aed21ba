"""Whether a file system can hold environments, and how much room it has.

It is tried out in the directory before anything is built, never on the path of a task that finds its environment. An
installation on a ``noexec`` mount succeeds and is of no use: its Python is a link to elsewhere, so even that runs.
Object stores that are mounted as file systems know no links, and some of them no permissions. Installers say that a
disk is full, seldom which one, and never what to do.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cosmos_venv.exceptions import VirtualenvError
from cosmos_venv.files.os_errors import FreeSpace


def full_disk_message(directory: Path, environ: Mapping[str, str]) -> str:
    """Return the message for a disk that is full, with what is left where an installation writes.

    :param directory: of the environment.
    :param environ: the installer's environment variables; TMPDIR and UV_CACHE_DIR count.
    """
    # Not tempfile.gettempdir, which tries to write and finds no place at all where everything is full.
    places = [directory, Path(environ.get("TMPDIR") or "/tmp")]  # noqa: S108
    places += [Path(environ["UV_CACHE_DIR"])] if environ.get("UV_CACHE_DIR") else []
    return (
        f"The disk is full. Free now: {', '.join(f'{FreeSpace.at(path)} in {path}' for path in places)}. Make room, or "
        "name a directory on another disk (virtualenv_dir; TMPDIR and UV_CACHE_DIR in the worker's environment)."
    )


TRIAL_PREFIX = ".cosmos-venv-trial-"
_NOT_PERMITTED = {errno.EPERM, errno.EACCES, errno.EMLINK}
UNSUPPORTED = _NOT_PERMITTED | {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
"""What a file system answers that cannot do it, in a directory that may be written. A full one says something else."""

_UNQUOTABLE = '\n"$`'


def refuse_unfit(directory: Path, *, parameter: str = "virtualenv_dir") -> None:
    """Try in an existing directory what an environment needs. Nothing stays: whoever holds the directory's lock next
    removes what a kill leaves.

    :param directory: an existing directory.
    :param parameter: what the user would change; begins the message.
    :raises VirtualenvError: what its file system cannot do, and what to use instead.
    :raises OSError: when it cannot be tried: the directory is not writable, the disk is full.
    """
    if os.statvfs(directory).f_flag & getattr(os, "ST_NOEXEC", 0):
        raise unfit(directory, "is mounted noexec: no program in it can be started", parameter=parameter)
    trial = Path(tempfile.mkdtemp(prefix=TRIAL_PREFIX, dir=directory))
    what = "symbolic links"
    try:
        (trial / "link").symlink_to("first")
        what = "permissions (chmod)"
        trial.chmod(0o700)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        raise unfit(directory, f"does not support {what} ({error.strerror})", parameter=parameter) from error
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def refuse_unfit_path(build: Path) -> None:
    """Refuse a path in which a shell would run something: installers write it into the first lines of each command.

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
