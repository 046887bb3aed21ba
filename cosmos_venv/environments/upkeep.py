"""What a store's owner wants of it: what may go, and whether builds that failed stay. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from cosmos_venv.exceptions import CosmosValueError

DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class PruneLimits:
    """What a store may hold; 0 is no limit.

    :param max_age: seconds since an environment was last used.
    :param max_count: environments; those used last stay.
    :param max_bytes: on disk.
    :param min_age: what was used within as many seconds stays, whatever the limits say.
    :raises CosmosValueError: naming the value that is negative.
    """

    max_age: float = 30 * DAY
    max_count: int = 10
    max_bytes: int = 0
    min_age: float = DAY

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise CosmosValueError(f"{field.name} is {getattr(self, field.name)}: give 0 (no limit) or more.")


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """What happens to a store with each build.

    :param limits: what is pruned after it; None: nothing.
    :param keep_failed: whether the last failed build of an environment stays, with its log.
    """

    limits: PruneLimits | None = None
    keep_failed: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Upkeep:
        """From what ``dataclasses.asdict`` made of one."""
        limits = data["limits"]
        return cls(limits=limits and PruneLimits(**limits), keep_failed=data["keep_failed"])
