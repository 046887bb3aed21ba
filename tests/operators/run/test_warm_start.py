"""Virtualenv operators that let dbt start warm: when they do, what is counted, who is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.dbt.warm import servers
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.run import dbt_run, warm_start
from tests.kit import DbtCalls, MakeOperator
from tests.warm_servers import live_servers

pytestmark = pytest.mark.usefixtures("short_folder")

Counted = list[tuple[str, dict[str, str]]]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """The counts in Airflow's metrics."""
    seen: Counted = []
    monkeypatch.setattr(dbt_run, "count", lambda metric, tags: seen.append((metric, dict(tags))))
    return seen


def started(counted: Counted) -> list[str]:
    return [tags.get("reason", "warm") for _, tags in counted]


def test_the_second_task_starts_a_server_by_itself_and_all_later_ones_use_it(
    make_operator: MakeOperator, dbt_calls: DbtCalls, counted: Counted
) -> None:
    for given in ({}, {}, {"warm_dbt": "auto"}, {"warm_dbt": "auto"}):
        make_operator(**given).execute({})

    (place,) = live_servers()
    state = servers.state_of(place)
    assert state is not None
    assert state["commands"] == 3
    assert started(counted) == ["first", "warm", "warm", "warm"]
    assert counted[-1][0] == "cosmos_venv.dbt.warm"
    assert counted[-1][1]["task_id"] == "run"
    assert len(dbt_calls()) == 4
    assert len({tuple(call.arguments[:2]) for call in dbt_calls()}) == 1


def test_the_setting_counts_where_the_operator_says_nothing(
    make_operator: MakeOperator, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT", "require")

    make_operator().execute({})
    make_operator(warm_dbt="off").execute({})

    assert started(counted) == ["warm"]


@pytest.mark.parametrize(
    ("packages", "choice", "reason"),
    [
        pytest.param(("dbt_duckdb", "dbt_postgres"), "auto", None, id="tried"),
        pytest.param(("dbt_duckdb", "dbt_snowflake"), "auto", "adapter", id="one-that-nobody-tried"),
        pytest.param(("dbt_snowflake",), "require", None, id="asked-for"),
        pytest.param(("dbt_score",), "auto", None, id="no-adapter"),
    ],
)
def test_an_adapter_that_nobody_tried_in_a_fork_starts_warm_on_request_alone(
    tmp_path: Path, packages: tuple[str, ...], choice: str, reason: str | None
) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    for package in ("dbt_core", *packages):
        (site / f"{package}-1.11.0.dist-info").mkdir(parents=True)
    for adapter in {"dbt_duckdb", "dbt_postgres", "dbt_snowflake"} & {*packages}:
        (site / "dbt" / "adapters" / adapter.removeprefix("dbt_")).mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dbt").write_text("#!/usr/bin/python3\n")
    (tmp_path / "pyvenv.cfg").touch()

    candidate = warm_start.WarmCandidate.of_executable(str(tmp_path / "bin" / "dbt"))

    refuses = warm_start.why_not(candidate, choice=choice, runs_as_another=False)

    assert (refuses or (None,))[0] == reason


def test_another_word_is_refused_when_the_dag_is_built(make_operator: MakeOperator) -> None:
    with pytest.raises(CosmosValueError, match="warm_dbt='always': it can be auto, off, require"):
        make_operator(warm_dbt="always")


def test_the_log_says_how_dbt_has_started(make_operator: MakeOperator, capfd: pytest.CaptureFixture[str]) -> None:
    logs = []
    for _ in range(2):
        make_operator().execute({})
        logs.append("".join(capfd.readouterr()))

    assert "no other command of this environment ran within the last 600 s, with the same PATH" in logs[0]
    assert "dbt starts warm: it is forked from a process that has imported it." in logs[1]
    assert "dbt starts" not in logs[1].replace("dbt starts warm", "", 1)


@pytest.mark.parametrize(
    ("arguments", "variables", "reason"),
    [
        pytest.param({"is_virtualenv_dir_temporary": True}, {}, "temporary", id="in-a-temporary-environment"),
        pytest.param({"run_as_user": "harbor"}, {}, "user", id="as-another-user"),
        pytest.param({}, {"AIRFLOW_IS_K8S_EXECUTOR_POD": "True"}, "pod", id="in-a-pod"),
        pytest.param({}, {"AIRFLOW__COSMOS__ENABLE_DEBUG_MODE": "True"}, "debug", id="with-its-memory-measured"),
    ],
)
def test_where_nobody_would_profit_dbt_starts_as_ever(
    make_operator: MakeOperator,
    dbt_calls: DbtCalls,
    counted: Counted,
    arguments: dict[str, Any],
    variables: dict[str, str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    for _ in range(2):
        make_operator(warm_dbt="auto", **arguments).execute({})
    with pytest.raises(AirflowException, match="dbt cannot start warm: "):
        make_operator(warm_dbt="require", **arguments).execute({})

    assert started(counted) == [reason] * 3
    assert len(dbt_calls()) == 2
    assert live_servers() == []
