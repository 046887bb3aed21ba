"""Local operators whose dbt stands in a user's virtual environment: when it starts warm."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.constants import InvocationMode
from cosmos_venv.operators.run import dbt_run
from pytest_cosmos_venv import FakeVenv
from tests.kit import MakeTask
from tests.warm_servers import live_servers

pytestmark = pytest.mark.usefixtures("short_folder")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """``warm``, or the reason why not, of each command."""
    seen: list[str] = []
    monkeypatch.setattr(dbt_run, "count", lambda _, tags: seen.append(tags.get("reason", "warm")))
    return seen


def test_dbt_starts_as_ever_where_nobody_asks_for_more(make_here: MakeTask, counted: list[str]) -> None:
    for _ in range(2):
        make_here().execute({})

    assert counted == []
    assert live_servers() == []


def test_the_second_task_starts_a_server_where_the_setting_says_so(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__LOCAL_WARM_DBT", "auto")

    for _ in range(3):
        make_here().execute({})
    make_here(warm_dbt="off").execute({})

    assert counted == ["first", "warm", "warm"]
    assert [call.command for call in cosmos_fake_venv.calls] == ["run"] * 4
    assert [place.note()["environment"] for place in live_servers()] == [str(cosmos_fake_venv.path)]


def test_a_dbt_in_no_virtual_environment_is_not_served(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, counted: list[str], tmp_path: Path
) -> None:
    shutil.copytree(cosmos_fake_venv.path, tmp_path / "prefix", symlinks=True)
    (tmp_path / "prefix" / "pyvenv.cfg").unlink()
    executable = tmp_path / "prefix" / "bin" / "dbt"

    make_here(dbt_executable_path=executable, warm_dbt="auto").execute({})
    with pytest.raises(
        AirflowException, match=r"stands in no virtual environment, and warm_dbt or .* local_warm_dbt is"
    ):
        make_here(dbt_executable_path=executable, warm_dbt="require").execute({})

    assert counted == ["place", "place"]


def test_a_dbt_that_the_task_imports_itself_does_not_start_warm(make_here: MakeTask, counted: list[str]) -> None:
    with pytest.raises(AirflowException, match="with DBT_RUNNER the task imports dbt itself; SUBPROCESS can"):
        make_here(invocation_mode=InvocationMode.DBT_RUNNER, warm_dbt="require").execute({})

    assert counted == ["runner"]
