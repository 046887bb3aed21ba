"""The command line of one dbt invocation."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cosmos_venv.dbt.command import DbtOptions, asks_for_debug, dbt_command, selection_text, vars_text
from cosmos_venv.exceptions import CosmosValueError


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
        pytest.param(["--log-level", "info", "--select", "debug"], {}, False, id="another-level"),
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
