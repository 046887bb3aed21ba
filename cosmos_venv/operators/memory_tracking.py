"""The peak memory of a task, its dbt included, where ``[cosmos] enable_debug_mode`` asks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from airflow.sdk import Context

XCOM_KEY = "cosmos_debug_max_memory_mb"
_MEGABYTE = 1024 * 1024


@contextmanager
def memory_tracked(log: Any, context: Context | Mapping[str, Any], *, interval: float) -> Iterator[Callable[[], float]]:
    """Sample the resident memory of this process and its child processes within this block.

    The peak, in megabytes, is written to the log and pushed as an XCom, after a failure too. Yields a function that
    returns the peak so far.

    :param log: the task's logger.
    :param context: Airflow's context of the task; without ``ti`` nothing is pushed.
    :param interval: seconds between two samples.
    """
    seen = [_resident()]
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(interval):
            seen[0] = max(seen[0], _resident())

    looking = threading.Thread(target=look, name="cosmos-venv-memory", daemon=True)
    looking.start()
    try:
        yield lambda: seen[0] / _MEGABYTE
    finally:
        is_over.set()
        looking.join()
        _tell(log, context, round(max(seen[0], _resident()) / _MEGABYTE, 2))


def _tell(log: Any, context: Context | Mapping[str, Any], megabytes: float) -> None:
    log.info("Max memory usage (RSS, incl. children): %.2f MB", megabytes)
    if "ti" not in context:
        return
    try:
        context["ti"].xcom_push(key=XCOM_KEY, value=megabytes)
    except Exception:
        log.warning("The XCom %s could not be pushed.", XCOM_KEY, exc_info=True)


def _resident() -> int:
    processes = [this := psutil.Process()]
    with suppress(psutil.Error):
        processes += this.children(recursive=True)
    found = 0
    for process in processes:
        with suppress(psutil.Error):  # the process has ended meanwhile
            found += process.memory_info().rss
    return found
