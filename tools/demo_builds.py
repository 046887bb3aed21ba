"""The builds of cosmos-venv during the demo: its log lines and its builder's, as they come, for the display."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.demo_display import Display

BUILDER_LOG = re.compile(r"being built .* log file (?P<log>/.+)\.$")
BUILDER_STEPS = ("Creating ", "Resolved ", "Prepared ", "Installing ", "Installed ", "Successfully ", "The virtualenv ")
READY_AFTER = re.compile(r"is ready after (?P<seconds>[\d.]+) s\.$")


@contextmanager
def showing_builds(display: Display) -> Iterator[None]:
    """Show in the display what cosmos-venv and its builder do in this block, and note the seconds of a build."""
    stop = threading.Event()
    follower: list[threading.Thread] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            display.doing(text)
            if (match := BUILDER_LOG.search(text)) and not follower:
                follower.append(threading.Thread(target=follow, args=(Path(match["log"]), stop, display)))
                follower[0].start()

    logger, handler = logging.getLogger("cosmos_venv"), Handler(logging.INFO)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        stop.set()
        for thread in follower:
            thread.join()


def follow(log: Path, stop: threading.Event, display: Display) -> None:
    """Show each line of a growing file until told to stop."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        while True:
            is_last_look = stop.wait(0.1)
            for line in lines:
                display.doing(line.strip(), is_step=line.startswith(BUILDER_STEPS))
                if match := READY_AFTER.search(line.strip()):
                    display.seconds["environment"] = float(match["seconds"])
            if is_last_look:
                return
