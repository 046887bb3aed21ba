"""Does the look-alike do as scripted, and is what it was told on record?"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_cosmos_venv import FakeVenv, NodeOutcome, ScriptedDbt, ToolkitMisuse
from pytest_cosmos_venv.environments.scripted_dbt import _kill


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    for name, text in {
        "dbt_project.yml": "name: shop\n",
        "models/orders.sql": "select 1 as id\n",
        "models/staging/totals.sql": "{{ config(tags=['daily']) }} select * from {{ ref('orders') }}\n",
        "models/report.sql": "select * from {{ ref('totals') }}\n",
        "seeds/piers.csv": "id\n1\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def dbt(cosmos_fake_venv: FakeVenv, project: Path) -> Any:
    """Runs the fake dbt on the project, in an environment of ``env`` alone."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        settings = {"cwd": project, "env": {}, "capture_output": True, "text": True, "check": False, **options}
        return subprocess.run([str(cosmos_fake_venv.dbt), *arguments], **settings)  # noqa: PLW1510 - in settings

    return run


@pytest.fixture
def start(cosmos_fake_venv: FakeVenv, project: Path) -> Any:
    def popen(*arguments: str) -> subprocess.Popen[str]:
        command = [str(cosmos_fake_venv.dbt), *arguments]
        return subprocess.Popen(command, cwd=project, env={}, stdout=subprocess.DEVNULL, text=True)

    return popen


def statuses(project: Path) -> dict[str, str]:
    results = json.loads((project / "target" / "run_results.json").read_text(encoding="utf-8"))["results"]
    return {result["unique_id"].split(".", 2)[2]: result["status"] for result in results}


def test_everything_about_a_call_is_on_record(dbt: Any, cosmos_fake_venv: FakeVenv, project: Path) -> None:
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


@pytest.mark.parametrize(
    ("options", "stdin"),
    [
        pytest.param({"stdin": subprocess.DEVNULL}, "", id="dev-null"),
        pytest.param({"input": ""}, "", id="empty"),
        pytest.param({"stdin": None, "preexec_fn": lambda: os.close(0)}, None, id="closed"),
    ],
)
def test_a_standard_input_without_words_is_no_trouble(
    options: dict[str, Any], stdin: str | None, dbt: Any, cosmos_fake_venv: FakeVenv
) -> None:
    assert dbt("deps", **options).returncode == 0

    assert cosmos_fake_venv.calls[0].stdin == stdin


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


def test_two_calls_at_once_get_two_numbers(start: Any, cosmos_fake_venv: FakeVenv) -> None:
    for number in range(1, 9):
        cosmos_fake_venv.script("run", nth=number, exit_code=100 + number)

    processes = [start("run") for _ in range(8)]

    assert sorted(process.wait() for process in processes) == [100 + number for number in range(1, 9)]


def test_nodes_end_as_scripted_and_what_lies_below_is_skipped(
    dbt: Any, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    cosmos_fake_venv.script(
        "build",
        nodes={
            "orders": NodeOutcome(status="error", message="no such harbour"),
            "test.shop.unique_id.1a2b": NodeOutcome(status="warn", failures=3),
        },
    )

    done = dbt("build")

    assert done.returncode == 1
    assert statuses(project) == {
        "orders": "error",
        "piers": "success",
        "totals": "skipped",
        "report": "skipped",
        "unique_id.1a2b": "warn",
    }
    assert "  no such harbour\n" in done.stdout
    assert "WARN 3 unique_id" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("Done. PASS=1 WARN=1 ERROR=1 SKIP=2 NO-OP=0 TOTAL=5")


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        ("orders", {"orders"}),
        ("orders+", {"orders", "totals", "report"}),
        ("+totals", {"orders", "totals"}),
        ("tag:daily", {"totals"}),
        ("path:models/staging", {"totals"}),
        ("fqn:shop.staging.totals", {"totals"}),
        ("staging", {"totals"}),
        ("orders+,+totals", {"orders", "totals"}),
        ("config.materialized:view", {"orders", "totals", "report"}),
    ],
)
def test_a_selection_narrows_the_work(selection: str, names: set[str], dbt: Any, project: Path) -> None:
    dbt("run", "--select", selection)

    assert statuses(project).keys() == names


def test_excluded_nodes_are_not_run(dbt: Any, project: Path) -> None:
    dbt("run", "--exclude", "totals+")

    assert statuses(project).keys() == {"orders"}


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


def test_a_held_call_ends_when_it_is_released(start: Any, cosmos_fake_venv: FakeVenv, project: Path) -> None:
    held = cosmos_fake_venv.script("run", hold=True)
    process = start("run")
    call = cosmos_fake_venv.wait_for_call("run", held=True)

    assert process.poll() is None
    assert call.ended_at is None
    assert not (project / "target" / "run_results.json").exists()
    held.release()

    assert cosmos_fake_venv.wait_for_end("run").exit_code == 0
    assert process.wait() == 0


def test_a_delay_is_spent_at_work(dbt: Any, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("seed", delay=0.3)

    dbt("seed")

    (call,) = cosmos_fake_venv.calls
    assert call.ended_at is not None
    assert call.ended_at - call.started_at >= 0.3


def test_a_crash_is_seen_as_one(dbt: Any, cosmos_fake_venv: FakeVenv, project: Path) -> None:
    cosmos_fake_venv.script("run", crash=signal.SIGKILL)

    assert dbt("run").returncode == -signal.SIGKILL

    call = cosmos_fake_venv.wait_for_end("run")
    assert (call.ended_at, call.exit_code) == (None, None)
    assert not (project / "target" / "run_results.json").exists()


def test_signals_are_ignored_and_put_on_record_and_a_child_stays(start: Any, cosmos_fake_venv: FakeVenv) -> None:
    both = [signal.SIGINT, signal.SIGTERM]
    cosmos_fake_venv.script("run", hold=True, child=True, ignore_signals=both)
    process = start("run")
    child = psutil.Process(cosmos_fake_venv.wait_for_call(held=True).child_pid)
    for number in both:
        process.send_signal(number)
        child.send_signal(number)
        wait_for_signal(cosmos_fake_venv, number)

    assert process.poll() is None
    assert child.ppid() == process.pid
    cosmos_fake_venv.release()
    assert process.wait() == 0
    assert child.is_running()
    cosmos_fake_venv.close()

    # It has lost its parent, and PID 1 may take its time to reap it, or never do.
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def wait_for_signal(venv: FakeVenv, number: signal.Signals, deadline: float = 30.0) -> None:
    end = time.monotonic() + deadline
    while number.name not in venv.calls[0].signals:
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "-h"]])
def test_who_asks_for_help_gets_the_usage_and_no_run(arguments: list[str], dbt: Any, project: Path) -> None:
    done = dbt(*arguments)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: dbt ")
    assert not (project / "target").exists()


def test_calls_are_forgotten_and_scripts_are_not(dbt: Any, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("run", nth=1, exit_code=9)
    first = dbt("run").returncode

    cosmos_fake_venv.forget()

    assert cosmos_fake_venv.calls == []
    assert (first, dbt("run").returncode) == (9, 9)


def test_a_forgotten_call_that_still_runs_ends_with_its_test(start: Any, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("run", hold=True)
    process = start("run")
    cosmos_fake_venv.wait_for_call(held=True)

    cosmos_fake_venv.forget()
    assert cosmos_fake_venv.calls == []
    cosmos_fake_venv.close()

    assert not psutil.pid_exists(process.pid)
    process.wait()


def test_a_process_that_ends_while_it_is_being_ended_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    process = psutil.Popen(["true"])
    process.wait()
    monkeypatch.setattr(process, "is_running", lambda: True)

    _kill(process)


def test_a_script_for_a_node_that_is_not_there_fails_its_call_and_its_test(
    dbt: Any, cosmos_fake_venv: FakeVenv
) -> None:
    cosmos_fake_venv.script("run", nodes={"ordres": "error"})

    done = dbt("run")

    message = "nodes={'ordres': ...}: no file of the project 'shop' is a node of this name. There are: orders, "
    assert done.returncode == 2
    assert message in done.stderr
    with pytest.raises(ToolkitMisuse, match=re.escape(message)):
        cosmos_fake_venv.close()
    cosmos_fake_venv.folder.joinpath("script.json").unlink()
    for file in cosmos_fake_venv.folder.glob("*.jsonl"):  # else this test fails too, as it should
        file.unlink()


def test_a_node_cannot_end_as_only_another_kind_ends(dbt: Any, tmp_path: Path) -> None:
    scripted = ScriptedDbt(tmp_path / "record")
    with pytest.raises(
        ToolkitMisuse, match=r"nodes=\{'test.shop.a.1': 'success'\}: a test does not end so; give one of"
    ):
        scripted.script(nodes={"test.shop.a.1": "success"})


def test_a_model_cannot_pass(dbt: Any, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("run", nodes={"orders": "pass"})

    done = dbt("run")

    assert done.returncode == 2
    assert "nodes={'orders': 'pass'}: a model does not end so; give one of error, no-op" in done.stderr
    with pytest.raises(ToolkitMisuse, match="a model does not end so"):
        cosmos_fake_venv.close()
    cosmos_fake_venv.forget()
    shutil.rmtree(cosmos_fake_venv.folder / "forgotten")


@pytest.mark.parametrize(
    ("line", "runs"),
    [
        ("test", True),
        ("test --select orders", True),  # its name is that of a test of this model
        ("test --select unique_orders_id", True),
        ("test --select totals", False),
        ("test --exclude orders", False),
        ("test --exclude-resource-type test", False),
    ],
)
def test_an_added_test_runs_where_it_or_its_model_is_selected(
    line: str, runs: bool, dbt: Any, cosmos_fake_venv: FakeVenv
) -> None:
    cosmos_fake_venv.script("test", nodes={"test.shop.unique_orders_id.1a2b": "fail"})

    assert dbt(*line.split()).returncode == int(runs)


def test_a_script_for_a_selection_adds_to_it(dbt: Any, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("test", select="totals", nodes={"test.shop.odd.1a2b": "fail"})

    assert [dbt("test", "-s", name).returncode for name in ("totals", "orders")] == [1, 0]


def test_kinds_of_nodes_are_chosen(dbt: Any, project: Path) -> None:
    dbt("build", "--resource-type", "seed")
    assert statuses(project).keys() == {"piers"}

    dbt("build", "--exclude-resource-types", "seed")
    assert statuses(project).keys() == {"orders", "totals", "report"}


@pytest.mark.parametrize("spelling", [["--log-format", "JSON", "--log-level", "ERROR"], []])
def test_values_are_read_in_every_case(spelling: list[str], dbt: Any) -> None:
    variables = {} if spelling else {"DBT_LOG_FORMAT": "JSON", "DBT_LOG_LEVEL": "ERROR"}

    done = dbt(*spelling, "run", "--project-dir", "..", env=variables)

    events = [json.loads(line)["info"]["level"] for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr, events) == (2, "", ["error"])


@pytest.mark.parametrize(
    ("line", "variables", "message"),
    [
        ("run --threads many", {}, "Invalid value for '--threads': 'many' is not a valid integer."),
        ("run", {"DBT_LOG_LEVEL": "loud"}, "Invalid value for '--log-level': 'loud' is not one of 'debug', "),
    ],
)
def test_a_value_that_no_dbt_understands_is_refused(
    line: str, variables: dict[str, str], message: str, dbt: Any
) -> None:
    done = dbt(*line.split(), env=variables)

    assert done.returncode == 2
    assert f"Error: {message}" in done.stderr


def test_a_wait_in_vain_says_what_has_come(dbt: Any, cosmos_fake_venv: FakeVenv) -> None:
    dbt("deps")

    with pytest.raises(ToolkitMisuse, match=r"dbt run \(number 1\) has not begun within 0.05 s.*on record: 'deps'"):
        cosmos_fake_venv.wait_for_call("run", deadline=0.05)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ({"command": "fly"}, r"command='fly' is unknown to dbt: give one of --version, build, .*run-operation"),
        ({"exit_code": 1, "crash": signal.SIGKILL}, r"exit_code=1 and crash=SIGKILL: a process ends in one way"),
        ({"exit_code": 256}, r"exit_code=256: a process ends with 0 to 255"),
        ({"delay": -1}, r"delay=-1: seconds cannot be fewer"),
        ({"delay": 1, "hold": True}, r"hold=True and delay=1: give one of them"),
        ({"nth": 0}, r"nth=0: calls are counted from 1"),
        ({"artifacts": {"results.json": {}}}, r"artifacts='results.json' is unknown to dbt: give one of manifest.json"),
        ({"nodes": {"a": "red"}}, r"status='red' is unknown to dbt: give one of error, fail"),
        ({"nodes": {"a": "error"}, "exit_code": 0}, r"exit_code=0, but a fails, and dbt ends with 1 then"),
        ({"nodes": {"a": "warn"}, "exit_code": 1}, r"exit_code=1, but no node fails"),
        ({"nodes": {"a": "error"}, "artifacts": {"run_results.json": {}}}, r"both say what became of the nodes"),
        ({"crash": signal.SIGCONT}, r"crash=SIGCONT: no process dies of it"),
        ({"crash": signal.SIGTERM, "ignore_signals": [signal.SIGTERM]}, r"crash=SIGTERM is in ignore_signals too"),
        ({"ignore_signals": [signal.SIGKILL]}, r"no process can ignore SIGKILL"),
        ({"ignore_signals": [15]}, r"15 is no signal: give one such as signal.SIGTERM"),
        ({"stdout": "one line"}, r"stdout='one line': give a list of lines"),
        ({"stdout": 5}, r"stdout=5: give a list of lines"),
        ({"stderr": None}, r"stderr=None: give a list of lines"),
        ({"ignore_signals": None}, r"ignore_signals=None: give a list, such as \[signal.SIGTERM\]"),
        (
            {"artifacts": {"manifest.json": Path("a")}},
            r"artifacts\['manifest.json'\] cannot be written \(Object of type",
        ),
        ({"hold": "yes"}, r"hold='yes': give True or False"),
        ({"exitcode": 1}, r"script\(exitcode=…\): there is no such keyword; there are nth, select, exit_code"),
    ],
)
def test_a_script_that_contradicts_itself_is_refused(script: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ToolkitMisuse, match=message):
        ScriptedDbt(tmp_path).script(**script)

    assert not (tmp_path / "script.json").exists()
