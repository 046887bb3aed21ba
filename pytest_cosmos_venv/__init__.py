"""The toolkit's public names, which a test author imports; each is loaded on first use.

pytest loads this package in every run of every project that has it installed, so it imports the standard library only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_cosmos_venv.airflow.clock import Clock
    from pytest_cosmos_venv.airflow.connections import Connections
    from pytest_cosmos_venv.airflow.home import AirflowHome
    from pytest_cosmos_venv.airflow.outcomes import DagOutcome, EmittedAsset, TaskOutcome
    from pytest_cosmos_venv.airflow.variables import Variables, VariableWrite
    from pytest_cosmos_venv.cosmos_race import CosmosRace
    from pytest_cosmos_venv.dags.budget import OverBudget, ParseBudget
    from pytest_cosmos_venv.dags.cost import ParseCost
    from pytest_cosmos_venv.dags.shape import DagShape, ShapeOfDag, dag_shape
    from pytest_cosmos_venv.environments.fake_venv import FakeVenv
    from pytest_cosmos_venv.environments.package_index import IndexRequest, PackageIndex, serve_wheelhouse
    from pytest_cosmos_venv.environments.scripted_dbt import DbtCall, HeldCalls, ScriptedDbt, read_dbt_calls
    from pytest_cosmos_venv.environments.sdist import Sdist, SourceBuild
    from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel
    from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse, build_wheelhouse
    from pytest_cosmos_venv.errors import ToolkitMisuse, UnfinishedExplorationWarning, UnusedFaultWarning
    from pytest_cosmos_venv.explore.explorer import Exploration, FailingSchedule
    from pytest_cosmos_venv.explore.run import Schedule
    from pytest_cosmos_venv.fake_dbt import RECORD_VARIABLE, VERIFIED_DBT_VERSIONS
    from pytest_cosmos_venv.fake_dbt.rules import NodeOutcome
    from pytest_cosmos_venv.faults import Fault
    from pytest_cosmos_venv.faults.child_process import WorkerLost
    from pytest_cosmos_venv.faults.faults import Faults
    from pytest_cosmos_venv.faults.ledger import Alert, HappenedFault
    from pytest_cosmos_venv.faults.warehouse import WarehouseAddress
    from pytest_cosmos_venv.implementation import (
        Implementation,
        ImplementationError,
        declared_services,
        find_implementation,
    )
    from pytest_cosmos_venv.processes.lock_history import LockOwner
    from pytest_cosmos_venv.processes.pids import Pids
    from pytest_cosmos_venv.processes.process_table import ProcessTable
    from pytest_cosmos_venv.processes.venv_lock import VenvLock, VenvLocks
    from pytest_cosmos_venv.projects.http_manifest import HttpManifest, ManifestRequest, serve_manifest
    from pytest_cosmos_venv.projects.project import DbtProject
    from pytest_cosmos_venv.projects.projects import DbtProjects
    from pytest_cosmos_venv.races.contender import Contender
    from pytest_cosmos_venv.races.points import Point, Sighting
    from pytest_cosmos_venv.races.result import Race, RaceFailure
    from pytest_cosmos_venv.races.running import RunningRace
    from pytest_cosmos_venv.races.spans import EventLog, Span
    from pytest_cosmos_venv.races.timeline import Timeline
    from pytest_cosmos_venv.recordings.recording import RecordedCommand, Recording, read_recording
    from pytest_cosmos_venv.runs.run_fixtures import RunDag, RunTask
    from pytest_cosmos_venv.runs.turns import WaitsForEver
    from pytest_cosmos_venv.seeds.outcomes import SeedOutcome, SeedRendering, SeedRun
    from pytest_cosmos_venv.seeds.project import SeedFile
    from pytest_cosmos_venv.seeds.ready_made import SEED_SCENARIOS
    from pytest_cosmos_venv.seeds.scenario import SeedScenario
    from pytest_cosmos_venv.seeds.scenario_model import SeedStory
    from pytest_cosmos_venv.seeds.scenarios import SeedScenarios, seed_scenarios
    from pytest_cosmos_venv.suite import SuiteExit
    from pytest_cosmos_venv.warehouse.dbt_result import DbtFailed, DbtResult, NodeState
    from pytest_cosmos_venv.warehouse.duckdb_warehouse import DuckDBWarehouse
    from pytest_cosmos_venv.warehouse.warehouses import DuckDBWarehouses

__all__ = [
    "RECORD_VARIABLE",
    "SEED_SCENARIOS",
    "VERIFIED_DBT_VERSIONS",
    "AirflowHome",
    "Alert",
    "Clock",
    "Connections",
    "Contender",
    "CosmosRace",
    "DagOutcome",
    "DagShape",
    "DbtCall",
    "DbtFailed",
    "DbtProject",
    "DbtProjects",
    "DbtResult",
    "DuckDBWarehouse",
    "DuckDBWarehouses",
    "EmittedAsset",
    "EventLog",
    "Exploration",
    "FailingSchedule",
    "FakeVenv",
    "Fault",
    "Faults",
    "HappenedFault",
    "HeldCalls",
    "HttpManifest",
    "Implementation",
    "ImplementationError",
    "IndexRequest",
    "LockOwner",
    "ManifestRequest",
    "NodeOutcome",
    "NodeState",
    "OverBudget",
    "PackageIndex",
    "ParseBudget",
    "ParseCost",
    "Pids",
    "Point",
    "ProcessTable",
    "Race",
    "RaceFailure",
    "RecordedCommand",
    "Recording",
    "RunDag",
    "RunTask",
    "RunningRace",
    "Schedule",
    "ScriptedDbt",
    "Sdist",
    "SeedFile",
    "SeedOutcome",
    "SeedRendering",
    "SeedRun",
    "SeedScenario",
    "SeedScenarios",
    "SeedStory",
    "ShapeOfDag",
    "Sighting",
    "SourceBuild",
    "Span",
    "SuiteExit",
    "TaskOutcome",
    "Timeline",
    "ToolkitMisuse",
    "UnfinishedExplorationWarning",
    "UnusedFaultWarning",
    "VariableWrite",
    "Variables",
    "VenvLock",
    "VenvLocks",
    "WaitsForEver",
    "WarehouseAddress",
    "Wheel",
    "Wheelhouse",
    "WorkerLost",
    "build_wheelhouse",
    "dag_shape",
    "declared_services",
    "find_implementation",
    "read_dbt_calls",
    "read_recording",
    "seed_scenarios",
    "serve_manifest",
    "serve_wheelhouse",
    "write_wheel",
]

__version__ = "0.2.0"

_MODULES = {
    name: module
    for module, names in {
        "airflow.clock": ("Clock",),
        "airflow.connections": ("Connections",),
        "airflow.home": ("AirflowHome",),
        "airflow.outcomes": ("DagOutcome", "EmittedAsset", "TaskOutcome"),
        "runs.run_fixtures": ("RunDag", "RunTask"),
        "airflow.variables": ("VariableWrite", "Variables"),
        "cosmos_race": ("CosmosRace",),
        "dags.budget": ("OverBudget", "ParseBudget"),
        "dags.cost": ("ParseCost",),
        "dags.shape": ("DagShape", "ShapeOfDag", "dag_shape"),
        "environments.fake_venv": ("FakeVenv",),
        "environments.package_index": ("IndexRequest", "PackageIndex", "serve_wheelhouse"),
        "environments.scripted_dbt": ("DbtCall", "HeldCalls", "ScriptedDbt", "read_dbt_calls"),
        "environments.sdist": ("Sdist", "SourceBuild"),
        "environments.wheel": ("Wheel", "write_wheel"),
        "environments.wheelhouse": ("Wheelhouse", "build_wheelhouse"),
        "errors": ("ToolkitMisuse", "UnfinishedExplorationWarning", "UnusedFaultWarning"),
        "explore.explorer": ("Exploration", "FailingSchedule"),
        "explore.run": ("Schedule",),
        "fake_dbt": ("RECORD_VARIABLE", "VERIFIED_DBT_VERSIONS"),
        "fake_dbt.rules": ("NodeOutcome",),
        "faults.child_process": ("WorkerLost",),
        "faults.faults": ("Faults",),
        "faults": ("Fault",),
        "faults.ledger": ("Alert", "HappenedFault"),
        "faults.warehouse": ("WarehouseAddress",),
        "implementation": ("Implementation", "ImplementationError", "declared_services", "find_implementation"),
        "processes.lock_history": ("LockOwner",),
        "processes.pids": ("Pids",),
        "processes.process_table": ("ProcessTable",),
        "processes.venv_lock": ("VenvLock", "VenvLocks"),
        "projects.http_manifest": ("HttpManifest", "ManifestRequest", "serve_manifest"),
        "projects.project": ("DbtProject",),
        "projects.projects": ("DbtProjects",),
        "races.contender": ("Contender",),
        "races.points": ("Point", "Sighting"),
        "races.result": ("Race", "RaceFailure"),
        "races.running": ("RunningRace",),
        "races.spans": ("EventLog", "Span"),
        "races.timeline": ("Timeline",),
        "recordings.recording": ("RecordedCommand", "Recording", "read_recording"),
        "seeds.outcomes": ("SeedOutcome", "SeedRendering", "SeedRun"),
        "seeds.project": ("SeedFile",),
        "seeds.ready_made": ("SEED_SCENARIOS",),
        "seeds.scenario": ("SeedScenario",),
        "seeds.scenario_model": ("SeedStory",),
        "seeds.scenarios": ("SeedScenarios", "seed_scenarios"),
        "suite": ("SuiteExit",),
        "warehouse.dbt_result": ("DbtFailed", "DbtResult", "NodeState"),
        "warehouse.duckdb_warehouse": ("DuckDBWarehouse",),
        "warehouse.warehouses": ("DuckDBWarehouses",),
        "runs.turns": ("WaitsForEver",),
    }.items()
    for name in names
}
"""Public name -> the module that has it."""


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
