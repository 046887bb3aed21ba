"""One ready environment in a task's hands: its paths, its record, and the lease that keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cosmos_venv.lease import Lease
from cosmos_venv.own_files import read_own

_SHOWN_FAULTS = 3


@dataclass(frozen=True, kw_only=True)
class Damaged:
    """A build that is published and does not serve any more: another one is to be built and takes its place.

    :param path: the build's own directory.
    :param faults: what is wrong with it, one clause each.
    """

    path: Path
    faults: tuple[str, ...]

    def __str__(self) -> str:
        shown = "; ".join(self.faults[:_SHOWN_FAULTS])
        rest = len(self.faults) - _SHOWN_FAULTS
        return f"The virtualenv {self.path} is damaged: {shown}" + (f"; and {rest} more." if rest > 0 else ".")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A ready environment. It stays as it is until ``close``.

    :param path: the build's own directory, never a link to it.
    :param was_built: whether it was made for this caller; False: it stood there.
    :param lease: what keeps it from being removed; None where none is needed or the mount knows no locks.
    :param is_temporary: whether it is this caller's alone, and gone after use.
    :param held_by: further descriptors that keep it, which are not ours to close.
    """

    path: Path
    digest: str
    record_file: Path
    was_built: bool
    lease: Lease | None = None
    is_temporary: bool = False
    held_by: tuple[int, ...] = ()

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    def script(self, name: str) -> Path:
        """Where a console script of that name stands, if some package brought it."""
        return self.path / "bin" / name

    @property
    def record(self) -> Mapping[str, Any]:
        """What was recorded when it was built: spec, pins, installer, by whom, when, how long. No credentials."""
        content: dict[str, Any] = json.loads(read_own(self.record_file))
        return content

    @property
    def age(self) -> float | None:
        """Seconds since it was built, by its record; None when that cannot be read."""
        try:
            built_at = datetime.fromisoformat(self.record["built_at"])
            return (datetime.now(tz=timezone.utc) - built_at).total_seconds()
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def keep_open(self) -> tuple[int, ...]:
        """Descriptors for a guarded command, so that the environment counts as used until its last descendant ends."""
        return self.held_by if self.lease is None else (*self.held_by, *self.lease.descriptors)

    def close(self) -> None:
        """Give up the lease. May be called again."""
        if self.lease is not None:
            self.lease.close()
