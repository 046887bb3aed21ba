"""How does one dbt command run? As a process of its own under the guard, its lines streaming into the task's log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cosmos_venv.guarded import Cancellation, GuardedProcess, WatchedProcess, run_guarded


class FullOutputSubprocessResult(NamedTuple):
    """What came of a command, in Cosmos's shape.

    :ivar exit_code: negative when a signal ended it.
    :ivar output: the last line.
    :ivar full_output: every line, stdout and stderr in the order in which they came.
    """

    exit_code: int
    output: str
    full_output: list[str]


def run_dbt(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    keep_open: Sequence[int] = (),
    on_line: Callable[[str], None] | None = None,
    on_tick: Callable[[], None] | None = None,
    cancellation: Cancellation | None = None,
    encoding: str = "utf-8",
    cancels_queries: bool = True,
    start: Callable[..., WatchedProcess] | None = None,
) -> FullOutputSubprocessResult:
    """Run dbt to its end, whatever its exit code.

    :param keep_open: descriptors of leases, held until the last process of the command is gone.
    :param on_tick: called every second while dbt runs. What it raises ends dbt.
    :param cancels_queries: whether a kill begins with SIGINT, on which dbt cancels its queries, or with SIGTERM.
    :param start: what starts it; None: a guard.
    :raises OSError: when it cannot be started.
    :raises CommandKilled: when ``cancellation`` was requested; dbt and its children are gone by then.
    """
    done = run_guarded(
        command,
        env=env,
        cwd=cwd,
        keep_open=keep_open,
        on_line=on_line,
        on_tick=on_tick,
        cancellation=cancellation,
        encoding=encoding,
        interrupts=cancels_queries,
        start=start or GuardedProcess,
    )
    return FullOutputSubprocessResult(done.returncode, done.lines[-1] if done.lines else "", done.lines)
