"""The folder that a dbt command writes to, whoever has said it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.dbt.workspace import Outputs

PLACE = Path("/run/place")


@pytest.mark.parametrize(
    ("env", "arguments", "target", "logs"),
    [
        pytest.param({}, [], "/run/place/target", "/run/place/logs", id="nobody"),
        pytest.param({"DBT_TARGET_PATH": "out", "DBT_LOG_PATH": "/l"}, [], "/run/place/out", "/l", id="variables"),
        pytest.param(
            {"DBT_TARGET_PATH": "", "DBT_LOG_PATH": ""}, [], "/run/place/target", "/run/place/logs", id="empty"
        ),
        pytest.param(
            {"DBT_TARGET_PATH": "/old", "DBT_ENGINE_TARGET_PATH": "/new"}, [], "/new", "/run/place/logs", id="dbt-1.11"
        ),
        pytest.param({}, ["dbt", "run", "--target-path", "/t"], "/t", "/run/place/logs", id="flag"),
        pytest.param({}, ["dbt", "--log-path=l", "run"], "/run/place/target", "/run/place/l", id="equals"),
        pytest.param(
            {"DBT_TARGET_PATH": "/e"}, ["--target-path", "/f", "--target-path=/t"], "/t", "/run/place/logs", id="last"
        ),
        pytest.param({}, ["dbt", "run", "--target", "prod"], "/run/place/target", "/run/place/logs", id="another-flag"),
        pytest.param({}, ["dbt", "run", "--target-path"], "/run/place/target", "/run/place/logs", id="no-value"),
    ],
)
def test_a_flag_wins_over_a_variable(env: dict[str, str], arguments: list[str], target: str, logs: str) -> None:
    outputs = Outputs.of(PLACE, env, arguments)

    assert (str(outputs.target), str(outputs.logs)) == (target, logs)


def test_dbt_is_told_by_the_names_that_every_dbt_knows() -> None:
    given = {"A": "1", "DBT_ENGINE_TARGET_PATH": "of the worker", "DBT_LOG_FORMAT_FILE": "text"}

    assert Outputs.of(PLACE, {}).variables(given) == {
        "A": "1",
        "DBT_TARGET_PATH": "/run/place/target",
        "DBT_LOG_PATH": "/run/place/logs",
        "DBT_LOG_FORMAT_FILE": "text",
    }
    assert Outputs.of(PLACE, {}).variables({})["DBT_LOG_FORMAT_FILE"] == "json"


def test_what_is_offered_to_be_parsed_is_found_by_a_dbt_that_writes_elsewhere(tmp_path: Path) -> None:
    """dbt refuses a path at which there is nothing."""
    outputs = Outputs.of(tmp_path, {"DBT_TARGET_PATH": "/mine"})
    without = outputs.variables({})
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "partial_parse.msgpack").touch()

    assert (without["DBT_TARGET_PATH"], without["DBT_PARTIAL_PARSE"]) == ("/mine", "False")
    assert outputs.variables({})["DBT_PARTIAL_PARSE_FILE_PATH"] == f"{tmp_path}/target/partial_parse.msgpack"
