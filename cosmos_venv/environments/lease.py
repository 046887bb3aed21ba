"""Who still needs a build: a shared kernel lock on ``<build>.lease`` for as long as somebody uses it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from cosmos_venv.environments.kernel_lock import open_for_locking

_READABLE_BY_ALL = 0o644


def lease_path(build: Path) -> Path:
    """The file whose locks say whether the build is in use."""
    return build.with_name(f"{build.name}.lease")


class Lease:
    """A lock on a lease file, held until ``close`` or the end of the last process that has the descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def shared(cls, build: Path, *, make: bool = True) -> Lease | None:
        """One user more; None while somebody removes the build.

        :param make: whether a missing lease file is made.
        :raises OSError: when the file cannot be had, or the mount knows no locks.
        """
        path = lease_path(build)
        try:
            # The file of a published build stands already, perhaps on a read-only mount.
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            if not make:
                raise
            descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, _READABLE_BY_ALL)
        return cls._locked(descriptor, fcntl.LOCK_SH)

    @classmethod
    def exclusive(cls, build: Path) -> Lease | None:
        """The right to remove a build; None when it is in use.

        :raises OSError: when the file cannot be had.
        """
        return cls._locked(open_for_locking(lease_path(build)), fcntl.LOCK_EX)

    @classmethod
    def _locked(cls, descriptor: int, kind: int) -> Lease | None:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """For ``keep_open`` of a guarded command: it holds the lease too."""
        return () if self._descriptor is None else (self._descriptor,)

    def is_of(self, build: Path) -> bool:
        """Whether the build's lease file is still the one that is locked here."""
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), lease_path(build).stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Give it up. May be called again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
