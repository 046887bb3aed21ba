"""What do scenarios of seeds need around them? Variables in memory, and dbts that are ended when it is over."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from pytest_cosmos_venv.seeds.scenarios import SeedScenarios

if TYPE_CHECKING:
    from pytest_cosmos_venv.environments.fake_venv import FakeVenv
    from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
    from pytest_cosmos_venv.implementation import Implementation


@contextmanager
def seed_scenarios(
    implementation: Implementation,
    folder: Path,
    *,
    wheelhouse: Callable[[], Wheelhouse],
    virtualenv_dir: Path | None = None,
    under_airflow: bool = True,
) -> Iterator[SeedScenarios]:
    """``cosmos_seed_scenario`` without a test around it, such as in a contender of a race.

    Airflow's home is whichever this process has; what the runs write into its database stays there.

    :param folder: an empty one for projects and environments.
    :param wheelhouse: asked for one by a scenario that installs a real environment.
    :param virtualenv_dir: where scenarios of virtualenv mode keep their environments; None: each has its own.
    :param under_airflow: False: tasks are executed with nothing of Airflow around them, in a tenth of the time; then
        there are no assets.
    """
    from pytest_cosmos_venv.airflow.alone import run_alone
    from pytest_cosmos_venv.airflow.running import run_dag
    from pytest_cosmos_venv.airflow.variables import Variables, VariableStore
    from pytest_cosmos_venv.airflow.versions import this_airflow
    from pytest_cosmos_venv.environments.fake_venv import fake_venv
    from pytest_cosmos_venv.seeds.workbench import Workbench

    venvs: list[FakeVenv] = []
    store = VariableStore()
    workbench = Workbench(
        folder=folder,
        implementation=implementation,
        variables=Variables(store),
        fake_venv=lambda place: fake_venv(place, venvs),
        wheelhouse=wheelhouse,
        virtualenv_dir=virtualenv_dir,
        run_dag=run_dag if under_airflow else run_alone,
        under_airflow=under_airflow,
    )
    with (
        ExitStack() as to_close,
        # Implementations that tell their makers about each run are asked not to; a test has no network.
        mock.patch.dict(os.environ, {"DO_NOT_TRACK": "true"}),
        this_airflow().variables_in(store),
    ):
        yield SeedScenarios(workbench=workbench)
        # Each is closed, whatever another one has to say of its script.
        for venv in venvs:
            to_close.callback(venv.close)
