"""The fake does as scripted, and what it was told is on record."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import FakeVenv
from pytest_cosmos_venv.environments.scripted_dbt import ScriptedDbt
from pytest_cosmos_venv.errors import ToolkitMisuse


def test_everything_about_a_call_is_on_record(dbt: Any, cosmos_fake_venv: FakeVenv, project: Path) -> None:
    cosmos_fake_venv.keep_env("DBT_*")
    dbt("run", "--vars", "a: ü\n", env={"DBT_PASSWORD": "s3cret", "OTHER": "x"}, input="typed")

    (call,) = cosmos_fake_venv.calls
    assert call.arguments == ("run", "--vars", "a: ü\n")
    assert call.command == "run"
    assert (call.cwd, call.prefix, call.ppid) == (project, cosmos_fake_venv.path, os.getpid())
    assert call.stdin == "typed"
    assert call.env["DBT_PASSWORD"] == "s3cret"
    assert call.env["OTHER"] == "x"
    assert call.ended_at is not None
    assert call.started_at <= call.ended_at
    assert call.exit_code == 0
    assert "s3cret" not in repr(call)
    (file,) = cosmos_fake_venv.folder.glob("*.jsonl")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("version", ["1.11.0", "2.0.0"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("GITHUB_TOKEN", "ghp_0123456789", id="name"),
        pytest.param("AIRFLOW_CONN_WAREHOUSE", '{"password": "open-sesame"}', id="connection"),
        pytest.param("PIP_INDEX_URL", "https://harbor:open-sesame@index.example", id="address"),
        pytest.param("UV_INDEX", "https://ghp_0123456789@index.example/simple", id="user-of-an-address"),
    ],
)
def test_a_secret_of_the_machine_is_in_no_file_unless_the_test_asks_for_it_by_name(
    cosmos_fake_venv: FakeVenv, project: Path, name: str, value: str, version: str
) -> None:
    fake = cosmos_fake_venv(dbt_version=version)
    environment = {name: value, "COPY": f"is {value}", "OTHER": "x"}

    subprocess.run([fake.dbt, "run"], cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL)
    (file,) = fake.folder.glob("*.jsonl")
    fake.keep_env(f"{name[:3]}*")
    subprocess.run([fake.dbt, "run"], cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL)

    assert value.strip("{}") not in file.read_text(encoding="utf-8").replace("\\", "")
    first, second = (call.env for call in fake.calls)
    assert {name, "COPY", "OTHER"} <= {*first}
    assert name in first
    assert first["OTHER"] == "x"
    assert second[name] == value
    for look in (lambda: [first[name]], lambda: first.get("COPY"), lambda: [*first.values()], lambda: dict(first)):
        with pytest.raises(ToolkitMisuse, match=rf"value of ({name}|COPY) is not on record.*\.keep_env\('"):
            look()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("--quiet run-operation --args {} grant --target dev", ("run-operation", "grant"), id="a-macro"),
        pytest.param("docs generate --select a b --no-compile", ("docs", "generate"), id="options-of-many-values"),
        pytest.param("run-operation --target-path grant fly", ("run-operation", "fly"), id="a-value-is-no-word"),
    ],
)
def test_words_are_told_from_options_and_their_values(
    dbt: Any, cosmos_fake_venv: FakeVenv, line: str, words: tuple[str, ...]
) -> None:
    dbt(*line.split())

    assert cosmos_fake_venv.calls[0].words == words


@pytest.mark.parametrize(
    ("line", "value"),
    [
        pytest.param("run --target dev", "dev", id="two-words"),
        pytest.param("run --target=dev", "dev", id="one-word"),
        pytest.param("run -t dev --select orders", "dev", id="its-short-name"),
        pytest.param("run -t prod --target dev", "dev", id="the-last-of-two-names"),
        pytest.param("run --profile --target", None, id="a-value-that-looks-like-it"),
        pytest.param("run --target", None, id="what-dbt-refuses"),
    ],
)
def test_the_value_of_an_option_is_found_however_it_is_spelt(
    dbt: Any, cosmos_fake_venv: FakeVenv, line: str, value: str | None
) -> None:
    dbt(*line.split())

    assert cosmos_fake_venv.calls[0].option("--target", "-t") == value


def test_beside_a_wheelhouse_it_keeps_script_and_record_of_its_own(
    dbt: Any, cosmos_fake_venv: FakeVenv, tmp_path: Path
) -> None:
    of_the_wheelhouse = ScriptedDbt(tmp_path / "elsewhere")
    of_the_wheelhouse.script(exit_code=7)

    done = dbt("run", env=of_the_wheelhouse.variables)

    assert done.returncode == 0
    assert [call.command for call in cosmos_fake_venv.calls] == ["run"]
    assert of_the_wheelhouse.calls == []


def test_the_last_fitting_script_counts(dbt: Any, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script(exit_code=3)
    cosmos_fake_venv.script("run", exit_code=4)
    cosmos_fake_venv.script("run", nth=2, exit_code=5)
    cosmos_fake_venv.script("run", select="orders", exit_code=6)
    cosmos_fake_venv.script("ls", exit_code=7)

    codes = [
        dbt(*line.split()).returncode
        for line in ("deps", "run", "run", "run", "run -s fqn:shop.orders", "run -s totals", "list")
    ]

    assert codes == [3, 4, 5, 4, 6, 4, 7]


def test_lines_are_printed_in_place_of_dbts_own(dbt: Any, cosmos_fake_venv: FakeVenv, project: Path) -> None:
    cosmos_fake_venv.script("ls", stdout=["one", "two"], stderr=["three"])

    done = dbt("ls")

    assert (done.stdout, done.stderr, done.returncode) == ("one\ntwo\n", "three\n", 0)


def test_artifacts_are_written_as_given(dbt: Any, cosmos_fake_venv: FakeVenv, project: Path) -> None:
    half = '{"results": ['
    artifacts: dict[str, Any] = {"run_results.json": half, "manifest.json": None, "sources.json": {"results": []}}
    cosmos_fake_venv.script("run", artifacts=artifacts)

    dbt("run", "--target-path", "out")

    written = {file.name: file.read_text(encoding="utf-8") for file in (project / "out").iterdir()}
    assert written == {"run_results.json": half, "sources.json": '{"results": []}'}


@pytest.mark.parametrize("spelling", [["--log-format", "JSON", "--log-level", "ERROR"], []])
def test_values_are_read_in_every_case(spelling: list[str], dbt: Any) -> None:
    variables = {} if spelling else {"DBT_LOG_FORMAT": "JSON", "DBT_LOG_LEVEL": "ERROR"}

    done = dbt(*spelling, "run", "--project-dir", "..", env=variables)

    events = [json.loads(line)["info"]["level"] for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr, events) == (2, "", ["error"])


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ({"command": "fly"}, r"command='fly' is unknown to dbt: give one of --version, build, .*run-operation"),
        ({"exit_code": 1, "crash": signal.SIGKILL}, r"exit_code=1 and crash=SIGKILL: a process ends in one way"),
        ({"exit_code": 256}, r"exit_code=256: a process ends with 0 to 255"),
        ({"at": "a", "after": "b", "hold": True}, r"at='a' and after='b': a call stops in one place; give one of them"),
        ({"at": "a"}, r"at='a': say what happens there too; give one of hold, delay and crash"),
        ({"nth": 0}, r"nth=0: calls are counted from 1"),
        ({"artifacts": {"results.json": {}}}, r"artifacts='results.json' is unknown to dbt: give one of manifest.json"),
        ({"nodes": {"a": "red"}}, r"status='red' is unknown to dbt: give one of error, fail"),
        ({"stdout": "one line"}, r"stdout='one line': give a list of lines"),
        ({"select": ["orders"], "exit_code": 1}, r"select=\['orders'\]: give the name of one node"),
        ({"at": ["orders"], "hold": True}, r"at=\['orders'\]: give the name of one node"),
        ({"after": 1, "hold": True}, r"after=1: give the name of one node"),
    ],
)
def test_a_script_that_contradicts_itself_is_refused(script: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ToolkitMisuse, match=message):
        ScriptedDbt(tmp_path).script(**script)

    assert not (tmp_path / "script.json").exists()
