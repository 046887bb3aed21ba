"""What can be said of a race beside its work? The options of ``cosmos_task_race``, for both ways to start one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.races.points import Point

TIMEOUT = 60.0
GRACE = 5.0


class RaceOptions(TypedDict, total=False):
    """What each means, ``cosmos_task_race`` says itself."""

    contenders: int | None
    prepare: Sequence[str]
    fresh: bool
    kill_at: str | Point | None
    stop_at: str | Point | None
    continue_at: str | Point | None
    victim: int | None
    virtualenv_dir: Path | str | None
    timeout: float
    deadline: float  # the former name of timeout
    grace: float
    services: Sequence[str] | None


def refuse_unknown(options: RaceOptions) -> None:
    """
    :raises ToolkitMisuse: for names that are none.
    """
    known = [name for name in RaceOptions.__annotations__ if name != "deadline"]
    unknown = [name for name in options if name not in known]
    if unknown:
        given = ", ".join(f"{name}=…" for name in unknown)
        raise ToolkitMisuse(f"cosmos_task_race({given}): there is no such option; there are {', '.join(known)}.")
