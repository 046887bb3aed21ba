"""Fixtures of this room."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_cosmos_venv.environments.fake_venv import FakeVenv
    from pytest_cosmos_venv.implementation import Implementation
    from pytest_cosmos_venv.seeds.scenarios import SeedScenarios


@pytest.fixture
def cosmos_seed_scenario(
    _cosmos_implementation: Implementation,
    tmp_path: Path,
    _cosmos_airflow_rows: None,
    request: pytest.FixtureRequest,
) -> Iterator[SeedScenarios]:
    """Seeds that change or do not, run after run: ``harbor = cosmos_seed_scenario(behavior="when_seed_changes")``.

    ``harbor.run()`` runs the DAG; ``.seed("piers").verdict`` of what it returns is ``ran``, ``skipped`` or ``failed``,
    as Airflow's state and dbt's record have it. Between runs: ``.edit("piers")``, ``.touch``, ``.delete``,
    ``.make_unreadable``, ``.corrupt_variable()``, ``with .variables_down():`` and more. ``.play(scenario)`` plays each
    of ``SEED_SCENARIOS``, the sentences of Cosmos's page "Managing seeds".
    """
    from pytest_cosmos_venv.airflow.running import run_dag
    from pytest_cosmos_venv.airflow.variables import Variables, VariableStore
    from pytest_cosmos_venv.airflow.versions import this_airflow
    from pytest_cosmos_venv.environments.fake_venv import fake_venv
    from pytest_cosmos_venv.seeds.scenarios import SeedScenarios
    from pytest_cosmos_venv.seeds.workbench import Workbench

    folder = tmp_path / "cosmos-seeds"
    folder.mkdir()
    venvs: list[FakeVenv] = []
    store = VariableStore()
    workbench = Workbench(
        folder=folder,
        implementation=_cosmos_implementation,
        variables=Variables(store),
        fake_venv=lambda place: fake_venv(place, venvs),
        wheelhouse=lambda: request.getfixturevalue("_cosmos_wheelhouse"),
        run_dag=run_dag,
    )
    with (
        ExitStack() as to_close,
        pytest.MonkeyPatch.context() as patch,
        this_airflow().variables_in(store),
    ):
        # Implementations that tell their makers about each run are asked not to; a test has no network.
        patch.setenv("DO_NOT_TRACK", "true")
        yield SeedScenarios(workbench=workbench)
        # Each is closed, whatever another one has to say of its script.
        for venv in venvs:
            to_close.callback(venv.close)
