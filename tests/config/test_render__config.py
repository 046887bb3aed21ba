"""Tests of the arguments that RenderConfig takes and refuses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest

from cosmos_venv.config import ExecutionConfig, RenderConfig
from cosmos_venv.constants import (
    DbtResourceType,
    ExecutionMode,
    LoadMode,
    SeedRenderingBehavior,
    SourceRenderingBehavior,
    TestBehavior,
)
from cosmos_venv.exceptions import CosmosValueError


def test_rendering_defaults_are_those_of_cosmos() -> None:
    config = RenderConfig()

    assert config.load_method is LoadMode.AUTOMATIC
    assert config.test_behavior is TestBehavior.AFTER_EACH
    assert config.source_rendering_behavior is SourceRenderingBehavior.NONE
    assert config.seed_rendering_behavior is SeedRenderingBehavior.ALWAYS
    assert (config.select, config.exclude, config.selector) == ([], [], None)
    assert (config.emit_datasets, config.enable_mock_profile, config.ephemeral_models_as_empty_operator) == (True,) * 3


@pytest.mark.parametrize(
    ("make", "attribute", "expected"),
    [
        (lambda: RenderConfig(test_behavior="none"), "test_behavior", TestBehavior.NONE),  # type: ignore[arg-type]
        (lambda: RenderConfig(load_method="dbt_ls"), "load_method", LoadMode.DBT_LS),  # type: ignore[arg-type]
        (lambda: ExecutionConfig("virtualenv"), "execution_mode", ExecutionMode.VIRTUALENV),  # type: ignore[arg-type]
    ],
    ids=["test_behavior", "load_method", "execution_mode"],
)
def test_the_exact_text_of_an_enum_is_taken_for_it(make: Any, attribute: str, expected: object) -> None:
    assert getattr(make(), attribute) is expected


def test_another_text_is_refused_with_all_that_there_is() -> None:
    with pytest.raises(
        CosmosValueError,
        match=r"RenderConfig\.test_behavior='never' is none of TestBehavior\.BUILD, TestBehavior\.NONE",
    ):
        RenderConfig(test_behavior="never")  # type: ignore[arg-type]


BOOLEANS = [each.name for each in fields(RenderConfig) if each.type in ("bool", "bool | None")]


@pytest.mark.parametrize("name", BOOLEANS)
def test_a_text_is_no_boolean(name: str) -> None:
    with pytest.raises(CosmosValueError, match=rf"RenderConfig\.{name}='False' is a text\. Give True or False\."):
        RenderConfig(**{name: "False"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"normalize_task_id": "x"}, "normalize_task_id='x' cannot be called"),
        ({"node_converters": {"model": "x"}}, r"node_converters\['model'\]='x' cannot be called"),
        ({"node_converters": {None: len}}, r"node_converters: the key=None is none of DbtResourceType\.MODEL"),
    ],
    ids=["normalize_task_id", "converter", "key"],
)
def test_a_hook_that_cannot_be_called_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(CosmosValueError, match=words):
        RenderConfig(**arguments)


def test_converters_may_be_keyed_by_dbts_own_words() -> None:
    config = RenderConfig(node_converters={"saved_query": len, DbtResourceType.MODEL: str})  # type: ignore[dict-item]

    assert config.node_converters == {DbtResourceType.SAVED_QUERY: len, DbtResourceType.MODEL: str}


def test_change_detection_of_seeds_contradicts_dbt_build() -> None:
    with pytest.raises(CosmosValueError, match="WHEN_SEED_CHANGES does not go with test_behavior BUILD"):
        RenderConfig(test_behavior=TestBehavior.BUILD, seed_rendering_behavior=SeedRenderingBehavior.WHEN_SEED_CHANGES)


@pytest.mark.parametrize("name", ["select", "exclude"])
def test_a_selection_that_is_one_text_is_refused(name: str) -> None:
    arguments: dict[str, Any] = {name: "tag:daily"}

    with pytest.raises(CosmosValueError, match=rf"RenderConfig\.{name}='tag:daily' must be a list"):
        RenderConfig(**arguments)


def test_a_behavior_of_none_is_taken_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="source_rendering_behavior None") as caught:
        config = RenderConfig(source_rendering_behavior=None)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match=r"test_behavior None is taken as TestBehavior\.NONE"):
        untested = RenderConfig(test_behavior=None)  # type: ignore[arg-type]

    assert config.source_rendering_behavior is SourceRenderingBehavior.NONE
    assert untested.test_behavior is TestBehavior.NONE
    assert caught[0].filename == __file__


@pytest.mark.parametrize("arguments", [{"env_vars": {"A": "1"}}, {"dbt_deps": False}], ids=["env_vars", "dbt_deps"])
def test_old_parameters_work_with_a_warning_at_the_users_line(arguments: dict[str, Any]) -> None:
    with pytest.warns(DeprecationWarning, match=f"RenderConfig.{next(iter(arguments))} is deprecated") as caught:
        RenderConfig(**arguments)

    assert caught[0].filename == __file__


def test_an_own_dbt_for_parsing_needs_no_mode_beside_it() -> None:
    """dbt ls always runs as a process, while Cosmos's default would import it."""
    assert RenderConfig(dbt_executable_path="other-dbt").has_own_executable


@pytest.mark.parametrize("module", ["cosmos_venv.config", "cosmos_venv.rendering.planner", "cosmos_venv.project.graph"])
def test_configuring_and_planning_import_no_airflow(module: str) -> None:
    code = f"import sys, {module}; sys.exit('airflow' in sys.modules or 'yaml' in sys.modules)"

    completed = subprocess.run([sys.executable, "-c", code], check=False)

    assert completed.returncode == 0
