"""The test's side of prepared processes and supervisors, when one of them is gone."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path

import psutil
import pytest

from pytest_cosmos_venv import ToolkitMisuse
from pytest_cosmos_venv.races.messages import RaceOrder
from pytest_cosmos_venv.races.supervisor_client import PreparedProcess


def order(folder: Path) -> RaceOrder:
    """The order of a race that is never run."""
    return RaceOrder(
        folder=folder,
        names=("contender-0",),
        sys_path=(),
        directory=str(folder),
        variables={},
        fresh=False,
        modules=(),
        work=pickle.dumps(None),
        acts={},
        services=(),
    )


def test_a_prepared_process_that_was_killed_is_told_and_nothing_stays_open(tmp_path: Path) -> None:
    prepared = PreparedProcess((), tmp_path / "log", os.environ)
    prepared._process.send_signal(signal.SIGKILL)
    prepared._process.wait()
    open_before = psutil.Process().num_fds()

    with pytest.raises(ToolkitMisuse, match="looks after the contenders of this race is gone: something has killed it"):
        prepared.fork_supervisor(order(tmp_path))

    assert psutil.Process().num_fds() == open_before
    prepared.close()
