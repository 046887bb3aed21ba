"""What becomes of a task that may have to wait? It rests, it installs, or it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .processes import REST, watch_until_rest

if TYPE_CHECKING:
    from pytest_cosmos_venv import Sdist

    from .bench import Bench
    from .running import RunningTasks

RESTS = "it rests"


def what_it_comes_to(bench: Bench, running: RunningTasks, held: Sdist, *, seconds: float = REST) -> str:
    """Wait until the only task rests, installs or has ended; in words which.

    A task that does none of it before the bench's deadline is said to be at work: it does not count as one that waits.

    :param held: what its environment needs built.
    :param seconds: for how long it has to rest.
    """
    rests = watch_until_rest(
        running.pids, lambda: held.builds or not running.running, seconds=seconds, deadline=bench.deadline
    )
    if held.builds:
        return f"its installer builds a package, in process {held.builds[0].pid}"
    if not running.running:
        return f"it ended: {running.finish().outcomes[0]}"
    return RESTS if rests else f"it is at work, for {bench.deadline:g} s by now"
