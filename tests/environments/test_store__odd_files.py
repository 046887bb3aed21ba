"""A lease whose time lies in a future that no clock explains."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

from cosmos_venv.environments.maintenance.pruner import PruneLimits, prune, surplus
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.files.kernel_lock import lease_path
from cosmos_venv.processes.cancellation import Cancellation
from tests.kit import MakeReady, MakeSpec


def test_what_was_used_in_a_future_that_no_clock_explains_goes_by_the_age_of_its_record(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    environment = make_ready(tmp_path, make_spec())
    ahead = time.time() + 10 * 365 * 86_400
    os.utime(lease_path(environment.path), (ahead, ahead))
    limits = PruneLimits(max_age=40, min_age=0)

    def pruned() -> list[str]:
        store, now = EnvironmentStore(tmp_path), time.time() + 60
        look = partial(surplus, store, limits, now=now)
        removals = prune(store, look, max_tries=0, cancellation=Cancellation(), report=print)
        return [each.describe() for each in removals]

    assert ["is removed" in line for line in pruned()] == [True]
    assert pruned() == []
