"""The build backend of a wheelhouse's sdist: it tells that it runs, waits, downloads or fails as ordered, and builds.

It becomes part of each sdist word for word, with its orders and the wheel that it builds beside it. It imports the
standard library only, so that a build needs nothing from an index, isolated or not, and little of that, since
installers start a Python for each hook. The hooks are those of PEP 517.
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
    """Write the metadata, which no order keeps from being read, and return the name of its folder.

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
    """Build as ordered, on record from the first to the last moment, and return the name of the wheel.

    :param wheel_directory: the folder for the wheel.
    :param config_settings: has no effect; a frontend passes it.
    :param metadata_directory: has no effect; a frontend passes it.
    """
    orders = _orders()
    with _on_record(Path(orders["builds"])):
        if orders["hold"]:
            _wait_for_release(Path(orders["builds"]), orders["timeout"])
        if orders["downloads"] is not None:
            _download(orders["downloads"])
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
    """Keep one file for this build."""
    builds.mkdir(parents=True, exist_ok=True)
    # Without a buffer, so that each line is there at once and none is lost when this process is killed.
    with (builds / f"{time.time_ns()}-{os.getpid()}.jsonl").open("ab", buffering=0) as file:
        # The kernel's lock ends with the process, however that ends: so a test sees whether the build still runs.
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


def _download(address: str) -> None:
    import urllib.request  # a third of the time of a build that asks nobody

    try:
        with urllib.request.urlopen(address) as answer:  # noqa: S310 - a test has said which
            answer.read()
    except OSError as error:
        sys.exit(f"The download of {address} has failed: {error}")


def _wait_for_release(builds: Path, timeout: float) -> None:
    installer, end = os.getppid(), time.monotonic() + timeout
    while not (builds / "released").exists():
        # An orphan gets another parent: the installer was killed, and nobody would end this process.
        if os.getppid() != installer:
            sys.exit("The installer is gone, so there is nobody to build for.")
        if time.monotonic() > end:
            sys.exit(f"Nobody has released this build within {timeout:g} s.")
        time.sleep(_LOOK_AGAIN)
