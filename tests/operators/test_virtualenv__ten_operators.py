"""The ten operators: each is its local operator in a managed environment, with that one's command and fields."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators import local, virtualenv
from cosmos_venv.operators.virtualenv import DbtVirtualenvBaseOperator
from tests.kit import MakeTask, operator_arguments

NAMES = "Build Clone Docs LS Run RunOperation Seed SemanticMetricView Snapshot Source Test".split()

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize("name", NAMES)
def test_each_operator_is_the_virtualenv_base_and_its_local_operator(name: str) -> None:
    cls = getattr(virtualenv, f"Dbt{name}VirtualenvOperator")
    parent = getattr(local, f"Dbt{name}LocalOperator")

    assert issubclass(cls, DbtVirtualenvBaseOperator)
    assert issubclass(cls, parent)
    assert set(cls.template_fields) >= {*DbtVirtualenvBaseOperator.template_fields, *parent.template_fields}


@pytest.mark.long
def test_a_dag_file_imports_nothing_that_only_a_run_needs() -> None:
    """It is parsed again and again."""
    program = "import sys, cosmos_venv.operators.virtualenv; print(*sys.modules)"

    modules = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()

    assert "cosmos_venv.operators.local_base" in modules
    assert not {
        "cosmos_venv.dbt.results",
        "cosmos_venv.dbt.workspace",
        "cosmos_venv.operators.run.dbt_run",
        "cosmos_venv.operators.run.post_run",
        "cosmos_venv.operators.run.state",
        "cosmos_venv.operators.seeds.seed_load",
    } & set(modules)


@pytest.fixture
def make(dbt_project: Path) -> MakeTask:
    """One of the ten, by its name."""

    def make(of: str = "Run", **arguments: Any) -> Any:
        return getattr(virtualenv, f"Dbt{of}VirtualenvOperator")(
            **operator_arguments(dbt_project, py_requirements=["dbt-duckdb"], **arguments)
        )

    return make


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *((name, {"full_refresh": "{{ params.full }}"}) for name in ("Build", "Clone", "Run", "Seed")),
        ("RunOperation", {"macro_name": "grant", "args": {"role": "{{ params.full }}"}}),
    ],
)
def test_what_a_command_knows_of_its_own_can_be_a_template(
    name: str, arguments: dict[str, Any], make: MakeTask
) -> None:
    operator = make(name, **arguments)

    operator.render_template_fields({"params": {"full": True}})

    words = operator.build_cmd({})[0]
    assert "--full-refresh" in words or words[-1] == "role: 'True'\n"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        pytest.param(None, [], id="none"),
        pytest.param({}, ["--args", "{}\n"], id="empty"),
        pytest.param("{role: reader}", ["--args", "{role: reader}"], id="yaml"),
        pytest.param({"b": [1, 2], "a": "é"}, ["--args", "a: é\nb:\n- 1\n- 2\n"], id="nested"),
    ],
)
def test_arguments_of_a_macro_are_yaml(args: Any, text: list[str], make: MakeTask) -> None:
    words = make("RunOperation", macro_name="grant", args=args).build_cmd({})[0]

    assert words == ["dbt", "run-operation", "grant", *text]


def test_a_macro_has_to_be_named(make: MakeTask) -> None:
    with pytest.raises(CosmosValueError, match=r"DbtRunOperationVirtualenvOperator needs macro_name: give it"):
        make("RunOperation", args={"role": "reader"})
