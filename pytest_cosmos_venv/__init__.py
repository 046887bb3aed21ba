"""The toolkit's public names, which a test author imports to annotate tests; each is loaded on first use.

pytest loads this package in every run of every project that has it installed, so it imports the standard library only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_cosmos_venv.airflow.outcomes import DagOutcome as DagOutcome
    from pytest_cosmos_venv.airflow.outcomes import TaskOutcome as TaskOutcome
    from pytest_cosmos_venv.cosmos_airflow import CosmosAirflow as CosmosAirflow
    from pytest_cosmos_venv.cosmos_airflow import LoadedDag as LoadedDag
    from pytest_cosmos_venv.cosmos_race import CosmosRace as CosmosRace
    from pytest_cosmos_venv.dags.shape import DagShape as DagShape
    from pytest_cosmos_venv.environments.cosmos_dbt import CosmosDbt as CosmosDbt
    from pytest_cosmos_venv.environments.fake_venv import FakeVenv as FakeVenv
    from pytest_cosmos_venv.environments.scripted_dbt import DbtCall as DbtCall
    from pytest_cosmos_venv.fake_dbt.rules import NodeOutcome as NodeOutcome
    from pytest_cosmos_venv.faults.faults import Faults as Faults
    from pytest_cosmos_venv.implementation import Implementation as Implementation
    from pytest_cosmos_venv.processes.venv_lock import CosmosLock as CosmosLock
    from pytest_cosmos_venv.processes.venv_lock import VenvLock as VenvLock
    from pytest_cosmos_venv.projects.project import DbtProject as DbtProject
    from pytest_cosmos_venv.projects.projects import CosmosProject as CosmosProject
    from pytest_cosmos_venv.races.contender import Contender as Contender
    from pytest_cosmos_venv.races.result import Race as Race
    from pytest_cosmos_venv.races.result import RaceFailure as RaceFailure
    from pytest_cosmos_venv.races.timeline import Timeline as Timeline
    from pytest_cosmos_venv.seeds.ready_made import SEED_SCENARIOS as SEED_SCENARIOS
    from pytest_cosmos_venv.seeds.scenario import SeedScenario as SeedScenario
    from pytest_cosmos_venv.seeds.scenarios import CosmosSeeds as CosmosSeeds
    from pytest_cosmos_venv.warehouse.duckdb_warehouse import DuckDBWarehouse as DuckDBWarehouse
    from pytest_cosmos_venv.warehouse.warehouses import CosmosDuckDB as CosmosDuckDB

__version__ = "0.3.0"

_MODULES = {
    "SEED_SCENARIOS": "seeds.ready_made",
    "Contender": "races.contender",
    "CosmosAirflow": "cosmos_airflow",
    "CosmosDbt": "environments.cosmos_dbt",
    "CosmosDuckDB": "warehouse.warehouses",
    "CosmosLock": "processes.venv_lock",
    "CosmosProject": "projects.projects",
    "CosmosRace": "cosmos_race",
    "CosmosSeeds": "seeds.scenarios",
    "DagOutcome": "airflow.outcomes",
    "DagShape": "dags.shape",
    "DbtCall": "environments.scripted_dbt",
    "DbtProject": "projects.project",
    "DuckDBWarehouse": "warehouse.duckdb_warehouse",
    "FakeVenv": "environments.fake_venv",
    "Faults": "faults.faults",
    "Implementation": "implementation",
    "LoadedDag": "cosmos_airflow",
    "NodeOutcome": "fake_dbt.rules",
    "Race": "races.result",
    "RaceFailure": "races.result",
    "SeedScenario": "seeds.scenario",
    "TaskOutcome": "airflow.outcomes",
    "Timeline": "races.timeline",
    "VenvLock": "processes.venv_lock",
}
"""Public name -> the module that has it."""

__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
