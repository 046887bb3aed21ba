"""A task that is told to end while it only looks for its environment ends at once."""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from cosmos_venv.environments.spec import Interpreter
from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.files.kernel_lock import Lease
from cosmos_venv.processes.cancellation import Cancellation
from tests.kit import MakeReady, MakeSpec, StartPython, WaitUntil, as_words

LOOK = """
import json, signal, sys, pickle
from pathlib import Path
from cosmos_venv.environments import store
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.processes.cancellation import Cancellation

store._LONGEST_RETIRING = 3600.0
cancellation = Cancellation()
signal.signal(signal.SIGTERM, lambda *_: cancellation.request())
print("LOOKING", flush=True)
try:
    print(store.EnvironmentStore(Path(sys.argv[1])).find(
        pickle.loads(bytes.fromhex(sys.argv[2])), cancellation=cancellation
    ))
except CommandKilled:
    print("KILLED")
"""


@pytest.fixture
def stopped_removal(tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady) -> Lease:
    """The lease of a pruner that was stopped in the middle of a removal."""
    lease = Lease.exclusive(make_ready(tmp_path, make_spec()).path)
    assert lease is not None
    return lease


def test_who_waits_for_a_removal_to_end(
    tmp_path: Path, make_spec: MakeSpec, stopped_removal: Lease, start_python: StartPython
) -> None:
    with closing(stopped_removal):
        looking = start_python(LOOK, tmp_path, as_words(make_spec()))
        assert looking.stdout is not None
        assert looking.stdout.readline() == "LOOKING\n"
        looking.send_signal(signal.SIGTERM)

        assert looking.communicate()[0] == "KILLED\n"


@pytest.mark.timeout(60)
def test_who_asks_another_python_what_it_is(tmp_path: Path, wait_until: WaitUntil) -> None:
    """A shim that waits for something, with a child of its own."""
    shim, said = tmp_path / "python3.9", tmp_path / "said"
    shim.write_text(f'#!/bin/sh\nsleep 600 &\necho "$$ $!" > "{said}.half"\nmv "{said}.half" "{said}"\nwait\n')
    shim.chmod(0o755)
    cancellation = Cancellation()

    def end_the_task() -> None:
        wait_until(said.exists)
        cancellation.request()

    ending = threading.Thread(target=end_the_task)
    ending.start()
    with pytest.raises(CommandKilled):
        Interpreter.of(str(shim), cancellation=cancellation)
    ending.join()

    wait_until(lambda: not any(psutil.pid_exists(int(pid)) for pid in said.read_text().split()))
