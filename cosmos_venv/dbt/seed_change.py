"""Does a seed have to be loaded? Pure: what is known in, a decision out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum

_FULL_REFRESH = re.compile(r"--full-refresh|-[dqx]*f[dfqx]*")  # short flags may be written together
_VARIABLES = ("DBT_ENGINE_FULL_REFRESH", "DBT_FULL_REFRESH")
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})


class Decision(Enum):
    """Whether dbt is run, and why."""

    FULL_REFRESH = "full refresh"
    UNKNOWN = "the content is not known"
    FIRST = "nothing is remembered"
    CHANGED = "the content has changed"
    BROKEN_OFF = "the content is the same, and a load of it has broken off since"
    UNCHANGED = "the content is the same"

    @property
    def runs(self) -> bool:
        return self is not Decision.UNCHANGED

    @property
    def is_remembered(self) -> bool:
        """Whether the content is remembered after dbt has loaded it."""
        return self in (Decision.FIRST, Decision.CHANGED, Decision.BROKEN_OFF)


def decide(*, seen: str | None, now: str | None, full_refresh: bool, broken_off: bool = False) -> Decision:
    """Unchanged only where that is known.

    :param seen: checksum of the content that was loaded last; None: nothing usable is remembered.
    :param now: checksum of the content now; None: it cannot be had.
    :param broken_off: a load has begun that did not end well, and none has ended well after it.
    """
    if full_refresh:
        return Decision.FULL_REFRESH
    if now is None:
        return Decision.UNKNOWN
    if seen is None:
        return Decision.FIRST
    if seen != now:
        return Decision.CHANGED
    return Decision.BROKEN_OFF if broken_off else Decision.UNCHANGED


def wants_full_refresh(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether this command is a full refresh to dbt: by a flag, or by dbt's variable for it.

    :param command: the whole command line.
    :param env: the environment variables of the process; dbt 1.11 knows the longer name, and prefers it.
    """
    said = next((env[name] for name in _VARIABLES if env.get(name)), "")
    return said.strip().lower() in _TRUE or any(_FULL_REFRESH.fullmatch(word) for word in command[1:])
