"""The build backend of a wheelhouse's sdist: it records its run, waits or fails as ordered, and builds.

This file is copied into each sdist, beside its orders and the wheel that it builds. It imports the standard library
only, so that a build needs nothing from an index. It imports few modules, since installers start a Python for each
hook. The hooks are those of PEP 517.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_LOOK_AGAIN = 0.01


def prepare_metadata_for_build_wheel(
    metadata_directory: str,
    config_settings: object = None,  # noqa: ARG001 - a frontend passes it
) -> str:
    """Write the metadata, whatever the orders say, and return the name of its folder.

    :param metadata_directory: the folder for it.
    :param config_settings: has no effect; a frontend passes it.
    """
    wheel = _orders()["wheel"]
    folder = Path(metadata_directory, wheel["info_folder"])
    folder.mkdir()
    for name, text in wheel["info"].items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder.name


def build_wheel(
    wheel_directory: str,
    config_settings: object = None,  # noqa: ARG001 - as above
    metadata_directory: str | None = None,  # noqa: ARG001 - as above
) -> str:
    """Build as ordered, record the whole build, and return the name of the wheel.

    :param wheel_directory: the folder for the wheel.
    :param config_settings: has no effect; a frontend passes it.
    :param metadata_directory: has no effect; a frontend passes it.
    """
    orders = _orders()
    with _on_record(Path(orders["builds"])):
        if orders["hold"]:
            _wait_for_release(Path(orders["builds"]), orders["timeout"])
        if orders["fails_with"] is not None:
            sys.exit(orders["fails_with"])
        wheel = Path(__file__).with_name(orders["wheel"]["filename"])
        Path(wheel_directory, wheel.name).write_bytes(wheel.read_bytes())
        return wheel.name


def _orders() -> dict[str, Any]:
    orders: dict[str, Any] = json.loads(Path(__file__).with_name("orders.json").read_text(encoding="utf-8"))
    return orders


@contextmanager
def _on_record(builds: Path) -> Iterator[None]:
    """Record this build in a file of its own."""
    builds.mkdir(parents=True, exist_ok=True)
    # Without a buffer, so that each line is there at once and none is lost when this process is killed.
    with (builds / f"{time.time_ns()}-{os.getpid()}.jsonl").open("ab", buffering=0) as file:
        # The kernel frees the lock when the process ends, in any way, so a test sees whether the build still runs.
        fcntl.flock(file, fcntl.LOCK_EX)
        _tell(file, event="start", pid=os.getpid())
        try:
            yield
        except BaseException:
            _tell(file, event="end", succeeded=False)
            raise
        _tell(file, event="end", succeeded=True)


def _tell(file: Any, **event: object) -> None:
    file.write((json.dumps({**event, "at": time.time()}) + "\n").encode())


def _wait_for_release(builds: Path, timeout: float) -> None:
    installer, end = os.getppid(), time.monotonic() + timeout
    while not (builds / "released").exists():
        # Another parent means that the installer was killed: nothing else would end this orphan.
        if os.getppid() != installer:
            sys.exit("The installer is gone, so there is nobody to build for.")
        if time.monotonic() > end:
            sys.exit(f"Nobody has released this build within {timeout:g} s.")
        time.sleep(_LOOK_AGAIN)
