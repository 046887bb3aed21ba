"""An installer that downloads without a word gets on: whoever waits for it counts no tries meanwhile."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from cosmos_venv.environments.installers.choice import OtherInstaller
from cosmos_venv.environments.opening import open_environment
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.processes.cancellation import Cancellation
from tests.kit import MakeSpec, WaitUntil

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel does not tell what was written")

# Makes an environment, and then writes somewhere without a word until it is told to end.
SILENT = """
import json, os, pathlib, sys, time, venv
end = pathlib.Path(sys.argv[1])
order = json.loads(os.environ["COSMOS_VENV_ORDER"])
venv.create(order["directory"])
with open(sys.argv[1] + ".download", "w") as download:
    while not end.exists():
        download.write("x")
        download.flush()
        time.sleep(0.01)
"""


def test_what_an_installer_writes_in_silence_is_progress(
    tmp_path: Path, make_spec: MakeSpec, wait_until: WaitUntil
) -> None:
    store, spec, end = EnvironmentStore(tmp_path / "store"), make_spec(), tmp_path / "end"
    renewals: list[int] = []

    def wait_for_renewal() -> None:
        (lease,) = store.root.glob("*.lease")
        seen = lease.stat().st_mtime_ns
        wait_until(lambda: lease.stat().st_mtime_ns > seen)
        renewals.append(lease.stat().st_mtime_ns)

    def watch() -> None:
        try:
            wait_until(Path(f"{end}.download").exists)
            wait_for_renewal()
            wait_for_renewal()
        finally:
            end.touch()

    watcher = threading.Thread(target=watch)
    watcher.start()
    silent = OtherInstaller(name="silent", command=(sys.executable, "-c", SILENT, str(end)))
    with open_environment(store, spec, preference=silent, max_tries=1, cancellation=Cancellation(), report=print):
        pass
    watcher.join()

    assert len(renewals) == 2
