"""The toolkit's public names are those that were promised, each loaded only when it is asked for."""

from __future__ import annotations

import pytest

import pytest_cosmos_venv


def test_the_public_names_are_pinned() -> None:
    assert set(pytest_cosmos_venv.__all__) == {
        "RECORD_VARIABLE",
        "SEED_SCENARIOS",
        "VERIFIED_DBT_VERSIONS",
        "WATCHER_SCENARIOS",
        "AirflowHome",
        "Alert",
        "Clock",
        "Connections",
        "Contender",
        "DagOutcome",
        "DagShape",
        "DbtCall",
        "DbtProject",
        "DbtProjects",
        "EmittedAsset",
        "EventLog",
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
        "OverBudget",
        "PackageIndex",
        "ParseBudget",
        "ParseCost",
        "PeakMemory",
        "Pids",
        "Point",
        "ProcessTable",
        "Race",
        "RaceFailure",
        "Racer",
        "RunDag",
        "RunTask",
        "RunningRace",
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
        "TaskRace",
        "Timeline",
        "ToolkitMisuse",
        "UnusedFaultWarning",
        "VariableWrite",
        "Variables",
        "VenvLock",
        "VenvLocks",
        "WarehouseAddress",
        "WatcherBench",
        "WatcherOutcome",
        "WatcherScenario",
        "WatcherScenarios",
        "Wheel",
        "Wheelhouse",
        "WorkerLost",
        "build_begins",
        "build_wheelhouse",
        "dag_shape",
        "dbt_reported",
        "declared_services",
        "file_appears",
        "find_implementation",
        "first_file_under",
        "lock_taken",
        "read_dbt_calls",
        "seed_scenarios",
        "serve_manifest",
        "serve_wheelhouse",
        "watcher_scenarios",
        "write_wheel",
    }


@pytest.mark.parametrize("name", pytest_cosmos_venv.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(pytest_cosmos_venv, name) is not None
    assert name in dir(pytest_cosmos_venv)


def test_an_unknown_name_is_refused_with_what_is_offered() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Wheelbarrow'; it offers .*build_wheelhouse"):
        _ = pytest_cosmos_venv.Wheelbarrow
