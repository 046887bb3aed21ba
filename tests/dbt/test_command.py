"""The command line of one dbt invocation."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cosmos_venv.dbt.command import (
    DbtOptions,
    asks_for_debug,
    dbt_command,
    selection_in_file,
    selection_text,
    vars_text,
)
from cosmos_venv.exceptions import CosmosValueError
from tests.installed import ENVIRONMENTS, is_missing


def test_without_options_there_is_only_the_command() -> None:
    assert dbt_command("dbt", ["run"], DbtOptions()) == ["dbt", "run"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(None, None, id="nothing"),
        pytest.param([], None, id="empty-list"),
        pytest.param("", "", id="empty-text-is-a-flag-with-nothing-in-it"),
        pytest.param(["a", "b"], "a b", id="union"),
        pytest.param("a b", "a b", id="text"),
        pytest.param([Path("models/staging"), "tag:a"], "models/staging tag:a", id="path"),
    ],
)
def test_a_selection_is_one_text(given: Any, expected: str | None) -> None:
    assert selection_text("select", given) == expected


def test_of_a_long_selection_each_word_is_apart_as_linux_takes_it() -> None:
    names = [f"not_null_a_model_of_some_name_{number}" for number in range(5000)]

    command = dbt_command("/bin/true", ["test"], DbtOptions(select=names, exclude=["a", "b"]))

    assert command == ["/bin/true", "test", "--select", *names, "--exclude", "a b"]
    subprocess.run(command, check=True)


SELECTED = ["fqn:harbor.orders", "fqn:harbor.mart,resource_type:model", "fqn:harbor.not_null_orders_id", "source:a?b.c"]


def test_a_selection_that_is_too_long_for_a_command_line_is_a_file() -> None:
    many = [f"fqn:shop.{number}" for number in range(50_000)]

    words, content = selection_in_file(["build", "--select", *many, "a,b c", "--indirect-selection", "empty"])

    assert words == ["build", "--selector", "cosmos_venv_selection", "--indirect-selection", "empty"]
    (selector,) = json.loads(content)["selectors"]
    assert selector["definition"]["union"] == [*many, {"intersection": ["a", "b"]}, "c"]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--select", *SELECTED], id="short"),
        pytest.param(["--select", *SELECTED * 9000, "--indirect-selection", "cautious"], id="tests-of-the-union"),
        pytest.param(["--select", *SELECTED * 9000, "--exclude", "a"], id="beside-another"),
        pytest.param(["--vars", "a" * 600_000], id="no-selection"),
    ],
)
def test_any_other_selection_stays_in_the_command_line(words: list[str]) -> None:
    assert selection_in_file(words) == (words, "")


@pytest.mark.long
@pytest.mark.parametrize("name", ["dbt110", "dbt111", "dbt2"])
@pytest.mark.parametrize("indirect", ["empty", "eager"])
def test_dbt_takes_the_same_nodes_from_the_file(tmp_path: Path, name: str, indirect: str) -> None:
    dbt = ENVIRONMENTS / name / "bin" / "dbt"
    if is_missing(dbt):
        pytest.skip(f"no dbt at {dbt}: make test makes it")
    for file, text in PROJECT.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)

    def listed(*words: str) -> list[str]:
        flags = ["--quiet", "--profiles-dir", ".", "--indirect-selection", indirect]
        command = [str(dbt), "ls", *flags, *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.splitlines()

    expected = listed("--select", *SELECTED)
    long = [f"fqn:{'x' * 100_000}{number}" for number in range(6)]
    words, content = selection_in_file(["--select", *SELECTED, *long])
    (tmp_path / "selectors.yml").write_text(content)

    assert len(expected) >= 4
    assert words == ["--selector", "cosmos_venv_selection"]
    assert sorted(listed(*words)) == sorted(expected)


PROJECT = {
    "dbt_project.yml": "name: harbor\nprofile: harbor\n",
    "profiles.yml": "harbor: {target: dev, outputs: {dev: {type: duckdb, path: ':memory:'}}}\n",
    "models/orders.sql": "select 1 as id\n",
    "models/mart.sql": "select * from {{ ref('orders') }}\n",
    "models/other.sql": "select 1 as id\n",
    "models/schema.yml": """
version: 2
sources: [{name: a.b, tables: [{name: c}]}]
models:
  - {name: orders, columns: [{name: id, data_tests: [not_null, unique]}]}
  - {name: mart, columns: [{name: id, data_tests: [not_null]}]}
""",
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude": ["a", 3]}, r"^exclude=\['a', 3\]: 3 is neither a text nor a path\.$"),
        ({"vars": {"a": {"b": Path("x")}}}, r"^vars: PosixPath\('x'\) is a PosixPath, .* dicts of them: 'x'\.$"),
    ],
)
def test_what_dbt_cannot_be_told_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CosmosValueError, match=message):
        dbt_command("dbt", ["run"], DbtOptions(**options))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(None, None, id="nothing"),
        pytest.param({}, "{}\n", id="empty"),
        pytest.param("{a: 1}", "{a: 1}", id="text-as-it-is"),
    ],
)
def test_vars_are_yaml(given: Any, expected: str | None) -> None:
    assert vars_text(given) == expected


def test_vars_come_out_as_they_went_in() -> None:
    given = {"name": 'Zoë "O\'Neil"\nJr.', "plan": {"since": "2024-01-01", "on": "no", "count": 0}}

    assert yaml.safe_load(vars_text(given) or "") == given


@pytest.mark.parametrize(
    ("words", "env", "expected"),
    [
        pytest.param([], {}, False, id="nothing"),
        pytest.param(["--debug"], {}, True, id="--debug"),
        pytest.param(["-d"], {}, True, id="-d"),
        pytest.param(["--log-level", "debug"], {}, True, id="--log-level"),
        pytest.param(["--log-level=trace"], {}, True, id="--log-level="),
        pytest.param(["--log-level", "info"], {}, False, id="another-level"),
        pytest.param(["--vars", "a=b=debug"], {}, False, id="another-value"),
        pytest.param([], {"DBT_DEBUG": "True"}, True, id="DBT_DEBUG"),
        pytest.param([], {"DBT_ENGINE_LOG_LEVEL": "debug"}, True, id="DBT_ENGINE_LOG_LEVEL"),
        pytest.param([], {"DBT_DEBUG": "0", "DBT_LOG_LEVEL": "info"}, False, id="variables-that-ask-for-none"),
    ],
)
def test_events_of_level_debug_are_asked_for_by_flag_or_variable(
    words: list[str], env: dict[str, str], expected: bool
) -> None:
    assert asks_for_debug(["dbt", "--quiet", *words, "run"], env) is expected
