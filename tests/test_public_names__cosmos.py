"""The public names of the product are those that were promised; operators that it lacks are refused in words."""

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
from cosmos_venv.public_names import PROFILE_MAPPINGS


def operators_of(suffix: str, *further: str) -> set[str]:
    verbs = ("Build", "LS", "Run", "RunOperation", "Seed", "Snapshot", "Test", *further)
    return {f"Dbt{verb}{suffix}" for verb in verbs}


# The public names of Cosmos 1.15 that are here, by module below the package; those at the top and in operators are
# pinned below.
OFFERED: dict[str, set[str]] = {
    "airflow.dag": {"DbtDag"},
    "airflow.task_group": {"DbtTaskGroup"},
    "cache": {
        f"delete_unused_dbt_{kind}{place}"
        for kind in ("", "ls_", "yaml_selectors_")
        for place in ("cache", "remote_cache_files")
    },
    "config": {
        *("CosmosConfigException", "ExecutionConfig", "ProfileConfig", "ProjectConfig", "RenderConfig"),
        *("DbtResourceType", "ExecutionMode", "InvocationMode", "LoadMode", "TestBehavior", "TestIndirectSelection"),
    },
    "constants": {
        "DBT_SETUP_ASYNC_TASK_ID",
        "DBT_TEARDOWN_ASYNC_TASK_ID",
        "DEFAULT_PROFILES_FILE_NAME",
        "PRODUCER_WATCHER_DONE_TASK_ID",
        "PRODUCER_WATCHER_TASK_ID",
    },
    "converter": {"DbtToAirflowConverter"},
    "exceptions": {"AirflowCompatibilityError", "CosmosDbtRunError", "CosmosValueError"},
    "io": {f"upload_to_{place}" for place in ("aws_s3", "azure_wasb", "cloud_storage", "gcp_gs")},
    "operators.airflow_async": operators_of("AirflowAsyncOperator", "Clone", "Compile", "SemanticMetricView", "Source"),
    "operators.base": {"AbstractDbtBase", *operators_of("Mixin", "Clone", "Compile", "SemanticMetricView", "Source")},
    "operators.local": {
        "AbstractDbtLocalBase",
        "DbtLocalBaseOperator",
        *operators_of("LocalOperator", "Clone", "Compile", "Deps", "SemanticMetricView", "Source"),
        *(f"DbtDocs{place}LocalOperator" for place in ("", "AzureStorage", "Cloud", "GCS", "S3")),
    },
    "operators.virtualenv": {
        "DbtVirtualenvBaseOperator",
        *operators_of("VirtualenvOperator", "Clone", "Docs", "SemanticMetricView", "Source"),
    },
    "operators.watcher": {
        "DbtConsumerWatcherSensor",
        "DbtProducerWatcherOperator",
        *(f"Dbt{verb}WatcherOperator" for verb in ("Build", "Run", "Seed", "SemanticMetricView", "Snapshot", "Test")),
    },
    "profiles": {
        "BaseProfileMapping",
        "DbtProfileConfigVars",
        "get_automatic_profile_mapping",
        "profile_mappings",
        *PROFILE_MAPPINGS.values(),
    },
    **{f"profiles.{path}": {name} for path, name in PROFILE_MAPPINGS.items()},
    "profiles.snowflake.base": {"SnowflakeBaseProfileMapping"},
    "profiles.trino.base": {"TrinoBaseProfileMapping"},
}
# Those that refuse a name which begins with Dbt.
REFUSING = ["", "converter", "profiles", *(f"operators{each}" for each in ("", ".base", ".local", ".watcher"))]


def test_the_names_at_the_top_are_pinned() -> None:
    assert set(cosmos_venv.__all__) == {
        *operators_of("LocalOperator", "Clone", "Deps"),
        "DbtDag",
        "DbtProjectDags",
        "DbtResourceType",
        "DbtTaskGroup",
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
    verbs = ("Build", "Deps", *docs, "LS", "Run", "RunOperation", "Seed", "Snapshot", "Test")
    assert set(operators.__all__) == {f"Dbt{verb}Operator" for verb in verbs}
    for name in operators.__all__:
        assert getattr(operators, name) is getattr(local, name.replace("Operator", "LocalOperator"))
    assert set(operators.__all__) <= set(dir(operators))
    assert local.AbstractDbtLocalBase is local.DbtLocalBaseOperator


@pytest.mark.parametrize("module", OFFERED)
def test_the_names_of_cosmos_are_where_cosmos_has_them(module: str) -> None:
    ours = import_module(f"cosmos_venv.{module}")

    assert [name for name in sorted(OFFERED[module]) if getattr(ours, name, None) is None] == []


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("from cosmos_venv import DbtRunKubernetesOperator", "cosmos_venv has DbtBuildLocalOperator, DbtClone"),
        ("from cosmos_venv import AIConfig", "does not have AIConfig: .* Give an on_failure_callback in default_args"),
        ("from cosmos_venv.config import AIConfig", "the exception of a failed task has dbt's own errors"),
        (
            "from cosmos_venv.operators.virtualenv import DbtShowVirtualenvOperator",
            "Read the table by Airflow's SQL op",
        ),
        (
            "from cosmos_venv.operators.watcher import DbtTestWatcherKubernetesOperator",
            "has .*DbtBuildWatcherOperator, ",
        ),
        ("from cosmos_venv.converter import airflow_kwargs", "split their arguments themselves"),
    ],
)
def test_importing_what_is_not_offered_says_what_is(statement: str, words: str) -> None:
    with pytest.raises(ImportError, match=words):
        exec(statement)  # noqa: S102 - the statement as a DAG file has it


@pytest.mark.parametrize("module", [*OFFERED, "", "operators"])
def test_a_name_that_nobody_has_is_an_ordinary_error(module: str) -> None:
    ours = import_module(f"cosmos_venv.{module}".rstrip("."))

    assert not hasattr(ours, "run_locally")
    with pytest.raises(AttributeError, match=rf"module '{ours.__name__}' has no attribute 'run_locally'"):
        _ = ours.run_locally


@pytest.mark.parametrize("module", REFUSING)
def test_a_type_checker_sees_the_names_that_are_there_and_no_others(module: str) -> None:
    """A checker that saw the module's ``__getattr__`` would take every name to be there."""
    ours = import_module(f"cosmos_venv.{module}".rstrip("."))

    statements = ast.parse(Path(str(ours.__file__)).read_text(encoding="utf-8")).body

    hooks = [each for each in statements if "__getattr__" in ast.unparse(each)]
    assert hooks
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


@pytest.mark.parametrize(
    "name",
    [
        "config.ProfileConfig",
        "constants.DbtResourceType",
        "io.upload_to_aws_s3",
        "operators.DbtRunOperator",
        "operators.local.DbtRunLocalOperator",
        "profiles.PostgresUserPasswordProfileMapping",
    ],
)
def test_modules_are_there_after_the_import_of_the_package(name: str) -> None:
    code = f"import cosmos_venv\nassert cosmos_venv.{name} is not None"
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
