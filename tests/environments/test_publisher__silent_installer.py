"""An installer that downloads without a word gets on: whoever waits for it counts no tries meanwhile."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from cosmos_venv.environments.installers.installer import Installer
from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.processes.cancellation import Cancellation
from tests.kit import MakeSpec, WaitUntil

# Makes an environment, and then says no word until it is told to end.
SILENT = """
import json, os, pathlib, sys, time, venv
end = pathlib.Path(sys.argv[1])
order = json.loads(os.environ["COSMOS_VENV_ORDER"])
venv.create(order["directory"])
pathlib.Path(sys.argv[1] + ".download").touch()
while not end.exists():
    time.sleep(0.01)
"""


def test_an_installer_that_says_nothing_gets_on_while_it_lives(
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
    silent = Installer(name="silent", command=(sys.executable, "-c", SILENT, str(end)))
    with open_environment(
        BuildRequest(store=store, spec=spec, preference=silent, max_tries=1), cancellation=Cancellation(), report=print
    ):
        pass
    watcher.join()

    assert len(renewals) == 2
