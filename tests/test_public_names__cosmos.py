"""The public names of the product are those that were promised; other names that Cosmos has are refused in words."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import cosmos_venv
from cosmos_venv import operators
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.operators import local
from cosmos_venv.project.graph import DbtGraph
from cosmos_venv.project.node import DbtNode
from cosmos_venv.public_names import COSMOS_NAMES

NAMES = [(module, name) for module, names in COSMOS_NAMES.items() for name in sorted(names)]


def test_the_names_at_the_top_are_pinned() -> None:
    assert set(cosmos_venv.__all__) == {
        "DbtBuildLocalOperator",
        "DbtCloneLocalOperator",
        "DbtDag",
        "DbtLSLocalOperator",
        "DbtResourceType",
        "DbtRunLocalOperator",
        "DbtRunOperationLocalOperator",
        "DbtSeedLocalOperator",
        "DbtSnapshotLocalOperator",
        "DbtTaskGroup",
        "DbtTestLocalOperator",
        "ExecutionConfig",
        "ExecutionMode",
        "InvocationMode",
        "LoadMode",
        "ProfileConfig",
        "ProjectConfig",
        "RenderConfig",
        "SeedRenderingBehavior",
        "SourceRenderingBehavior",
        "TestBehavior",
        "TestIndirectSelection",
        "__version__",
    }
    assert set(cosmos_venv.__all__) <= set(dir(cosmos_venv))
    assert all(getattr(cosmos_venv, name) is not None for name in cosmos_venv.__all__)


def test_the_short_names_of_operators_are_the_local_ones() -> None:
    docs = ("Docs", "DocsAzureStorage", "DocsGCS", "DocsS3")
    verbs = ("Build", *docs, "LS", "Run", "RunOperation", "Seed", "Snapshot", "Test")
    assert set(operators.__all__) == {f"Dbt{verb}Operator" for verb in verbs}
    for name in operators.__all__:
        assert getattr(operators, name) is getattr(local, name.replace("Operator", "LocalOperator"))
    assert set(operators.__all__) <= set(dir(operators))
    assert local.AbstractDbtLocalBase is local.DbtLocalBaseOperator


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[".".join(pair) for pair in NAMES])
def test_a_name_of_cosmos_is_there_or_refused_with_what_is_there(module: str, name: str) -> None:
    ours = import_module(f"cosmos_venv.{module}" if module else "cosmos_venv")

    if name in dir(ours):
        assert getattr(ours, name) is not None
        return
    with pytest.raises(ImportError, match=rf"cosmos-venv does not have {name}(\. {ours.__name__} has |: )"):
        getattr(ours, name)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("from cosmos_venv import DbtRunKubernetesOperator", "cosmos_venv has DbtBuildLocalOperator, DbtClone"),
        ("from cosmos_venv.operators import DbtDepsOperator", "does not have DbtDepsOperator: dbt deps is no task"),
        ("from cosmos_venv.operators.local import DbtDepsLocalOperator", "give install_deps=True"),
        (
            "from cosmos_venv.operators.virtualenv import DbtShowVirtualenvOperator",
            "Read the table by Airflow's SQL op",
        ),
        ("from cosmos_venv.operators.watcher import DbtSourceWatcherOperator", "has DbtBuildWatcherOperator, "),
    ],
)
def test_importing_what_is_not_offered_says_what_is(statement: str, words: str) -> None:
    with pytest.raises(ImportError, match=words):
        exec(statement)  # noqa: S102 - the statement as a DAG file has it


@pytest.mark.parametrize("module", COSMOS_NAMES)
def test_a_name_that_nobody_has_is_an_ordinary_error(module: str) -> None:
    ours = import_module(f"cosmos_venv.{module}" if module else "cosmos_venv")

    assert not hasattr(ours, "DbtRunLocallyOperator")
    with pytest.raises(AttributeError, match=rf"module '{ours.__name__}' has no attribute 'DbtRunLocallyOperator'"):
        _ = ours.DbtRunLocallyOperator


@pytest.mark.parametrize("module", [each for each in COSMOS_NAMES if not each.startswith("profiles.")])
def test_a_type_checker_sees_the_names_that_are_there_and_no_others(module: str) -> None:
    """A checker that saw the module's ``__getattr__`` would take every name to be there."""
    ours = import_module(f"cosmos_venv.{module}" if module else "cosmos_venv")

    statements = ast.parse(Path(str(ours.__file__)).read_text(encoding="utf-8")).body

    hooks = [each for each in statements if "__getattr__" in ast.unparse(each)]
    assert all(isinstance(each, ast.If) and ast.unparse(each.test) == "not TYPE_CHECKING" for each in hooks)


def test_a_deep_path_of_a_profile_is_imported_in_each_way() -> None:
    code = """
from cosmos_venv.profiles.snowflake.user_privatekey import SnowflakePrivateKeyPemProfileMapping as first
import cosmos_venv.profiles.snowflake.user_privatekey as module
from cosmos_venv.profiles import SnowflakePrivateKeyPemProfileMapping as usual
from cosmos_venv.profiles.trino.ldap import *
assert first is usual is module.SnowflakePrivateKeyPemProfileMapping
assert TrinoLDAPProfileMapping.__module__ == "cosmos_venv.profiles.trino"
import sys
assert "cosmos_venv.profiles.postgres" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_what_is_made_is_of_the_class_that_cosmos_calls_a_converter() -> None:
    converter = import_module("cosmos_venv.converter").DbtToAirflowConverter

    assert issubclass(cosmos_venv.DbtDag, converter)
    assert issubclass(cosmos_venv.DbtTaskGroup, converter)
    assert import_module("cosmos_venv.airflow.dag").DbtDag is cosmos_venv.DbtDag
    assert import_module("cosmos_venv.airflow.task_group").DbtTaskGroup is cosmos_venv.DbtTaskGroup


def test_the_graph_and_its_nodes_are_reached_where_cosmos_has_them() -> None:
    graph = import_module("cosmos_venv.dbt.graph")

    assert graph.DbtGraph is DbtGraph
    assert graph.DbtNode is DbtNode
    assert graph.CosmosLoadDbtException is CosmosLoadDbtException
