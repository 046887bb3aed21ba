"""Judge and workers that a supervisor interrupts all at once end the run in words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.waiting import wait_until

pytest_plugins = ["pytester"]

WAITING = """
import os
import signal
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _waits():
    (Path(os.environ["FOLDER"]) / f"waits-{os.getpid()}").touch()
    while True:
        signal.pause()
"""


@pytest.mark.long
def test_workers_and_judge_that_are_told_at_once_end_the_run_in_words(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor tells each process of the group, and the outer one passes its signal on: the judge gets two."""
    pytester.makepyfile(waiting=WAITING)
    monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=os.pathsep)
    monkeypatch.setenv("FOLDER", str(pytester.path))
    command = [sys.executable, "-m", "pytest", "--cosmos-conformance", "--cosmos-implementation=cosmos_venv"]
    output = pytester.path / "output"
    with (
        output.open("wb") as said,
        subprocess.Popen(
            [*command, "-n", "2", "-p", "waiting"], stdout=said, stderr=said, start_new_session=True
        ) as outer,
    ):
        wait_until(lambda: len(list(pytester.path.glob("waits-*"))) == 2, "no two workers run a check")

        os.killpg(outer.pid, signal.SIGTERM)

        code = outer.wait(timeout=60)
    told = output.read_text(encoding="utf-8")
    assert code == pytest.ExitCode.INTERRUPTED, told
    assert "INTERNALERROR" not in told
    assert "Traceback" not in told
    assert "The run ended before all was judged: no verdict (exit code 2)." in told
