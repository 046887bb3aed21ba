"""The fake dbt answers calls from a recording."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import FakeVenv, NodeOutcome
from pytest_cosmos_venv.errors import ToolkitMisuse
from tests.pytest_cosmos_venv.recordings.conftest import MakeReplay
from tests.pytest_cosmos_venv.recordings.recorded_shop import NODES, row, write_recording

DEADLINE = 60.0


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with other files than the recorded one: nothing of them counts."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "dbt_project.yml").write_text("name: shop\n", encoding="utf-8")
    return folder


@pytest.fixture
def replay(make_replay: MakeReplay, tmp_path: Path) -> FakeVenv:
    return make_replay(write_recording(tmp_path / "recording"))


def call(dbt: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(dbt), *arguments], cwd=cwd, capture_output=True, text=True, timeout=DEADLINE, check=False
    )


def results_of(project: Path) -> dict[str, dict[str, Any]]:
    content = json.loads((project / "target" / "run_results.json").read_text(encoding="utf-8"))
    return {each["unique_id"]: each for each in content["results"]}


def lines_of(stdout: str) -> list[str]:
    """The lines without their times."""
    return [re.sub(r"^\d\d:\d\d:\d\d  ?", "", line) for line in stdout.splitlines()]


def test_a_recorded_command_is_repeated_word_for_word(replay: FakeVenv, project: Path) -> None:
    done = call(replay.dbt, "build", cwd=project)

    assert done.stdout == f"Running\n{project}/models is read\nDone. no end"
    assert (done.stderr, done.returncode) == ("trouble\n", 1)
    assert results_of(project) == {
        name: row(name, status) | {"compiled_code": f"select '{project}'"} for name, (status, _) in NODES.items()
    }
    manifest = json.loads((project / "target" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["root"] == f"{project}/models"
    (seen,) = replay.calls
    assert (seen.dbt_version, seen.exit_code) == ("1.11.2", 1)
    assert seen.nodes == {name: status for name, (status, _) in NODES.items()}


def test_the_place_of_project_target_and_profiles_makes_no_other_command(replay: FakeVenv, project: Path) -> None:
    words = ("--project-dir", str(project), "--target-path", "out", "--threads", "4", "--profile", "shop")

    done = call(replay.dbt, "build", *words, cwd=project.parent)

    assert done.stdout.startswith("Running\n")
    assert (project / "out" / "run_results.json").exists()


def test_a_call_for_one_node_gets_what_that_node_did(replay: FakeVenv, project: Path) -> None:
    done = call(replay.dbt, "run", "--select", "orders", cwd=project)

    lines = lines_of(done.stdout)
    assert [line for line in lines if line.startswith("1 of 1 START sql view model port.orders ")]
    assert lines[-1] == "Done. PASS=1 WARN=0 ERROR=0 SKIP=0 NO-OP=0 TOTAL=1"
    assert done.returncode == 0
    expected = row("model.shop.orders", "success") | {"compiled_code": f"select '{project}'"}
    assert results_of(project) == {"model.shop.orders": expected}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(("run", "--select", "model.shop.broken"), {"broken": "error"}, id="a-failure"),
        pytest.param(("test", "--select", "orders"), {"unique_orders_id": "pass"}, id="the-tests-of-a-model"),
        pytest.param(("build", "-s", "orders"), {"orders": "success", "unique_orders_id": "pass"}, id="with-its-tests"),
        pytest.param(("run", "--models", "orders+"), {"orders": "success", "totals": "success"}, id="what-reads-it"),
        pytest.param(("run", "-s", "tag:daily"), {"orders": "success"}, id="a-tag"),
        pytest.param(("run", "-s", "path:models/totals.sql"), {"totals": "success"}, id="a-path"),
        pytest.param(("seed",), {"piers": "success"}, id="another-command"),
        pytest.param(("run", "-s", "broken+"), {"broken": "error", "below": "skipped"}, id="what-is-skipped-behind"),
        pytest.param(
            ("build", "--exclude", "broken+"),
            {"piers": "success", "orders": "success", "unique_orders_id": "pass", "totals": "success"},
            id="an-exclusion",
        ),
    ],
)
def test_a_selection_gets_its_nodes(
    words: tuple[str, ...], expected: dict[str, str], replay: FakeVenv, project: Path
) -> None:
    done = call(replay.dbt, *words, cwd=project)

    assert {name.split(".")[2]: each["status"] for name, each in results_of(project).items()} == expected
    assert done.returncode == int("error" in expected.values())


def test_commands_without_nodes_are_answered_though_none_is_recorded(replay: FakeVenv, project: Path) -> None:
    assert "installed: 1.11.2" in call(replay.dbt, "--version", cwd=project).stdout
    assert call(replay.dbt, "deps", cwd=project).returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("run", "-s", "below"), id="what-was-skipped-behind-a-failure"),
        pytest.param(("run-operation", "grant"), id="an-operation"),
    ],
)
def test_what_is_not_recorded_fails_the_call_and_its_test(
    words: tuple[str, ...], cosmos_fake_venv: FakeVenv, project: Path, tmp_path: Path
) -> None:
    cosmos_fake_venv.replay(write_recording(tmp_path / "recording"))

    done = call(cosmos_fake_venv.dbt, *words, cwd=project)

    assert done.returncode == 2
    assert f"no recorded command answers 'dbt {' '.join(words)}'. Recorded are: dbt build" in done.stderr
    assert "model.shop.below (skipped)" in done.stderr
    with pytest.raises(ToolkitMisuse, match="no recorded command answers"):
        cosmos_fake_venv.close()
    cosmos_fake_venv.forget()
    for file in (cosmos_fake_venv.folder / "forgotten").iterdir():
        file.unlink()


def test_one_command_twice_is_answered_in_order_and_then_as_the_last_time(
    make_replay: MakeReplay, project: Path, tmp_path: Path
) -> None:
    words = ["run", "--select", "late"]
    replay = make_replay(write_recording(tmp_path / "recording", (words, 1, "first\n"), (words, 0, "second\n")))

    answers = [call(replay.dbt, *words, cwd=project) for _ in range(3)]

    assert [(each.returncode, each.stdout) for each in answers] == [(1, "first\n"), (0, "second\n"), (0, "second\n")]


def test_a_dbt_that_died_of_a_signal_dies_of_it_again(make_replay: MakeReplay, project: Path, tmp_path: Path) -> None:
    replay = make_replay(write_recording(tmp_path / "recording", (["run", "-s", "late"], -9, "begun\n")))

    done = call(replay.dbt, "run", "-s", "late", cwd=project)

    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "begun\n")


def test_a_script_that_comes_later_counts_before_the_recording(replay: FakeVenv, project: Path) -> None:
    replay.script("build", exit_code=2)

    assert call(replay.dbt, "build", cwd=project).returncode == 2
    assert call(replay.dbt, "seed", cwd=project).returncode == 0


@pytest.mark.parametrize(
    ("nodes", "ended"),
    [
        pytest.param(
            {"orders": NodeOutcome(status="error", message="relation is gone")},
            (1, "Done. PASS=1 WARN=0 ERROR=2 SKIP=3 NO-OP=0 TOTAL=6"),
            id="a-failure-and-its-readers",
        ),
        pytest.param(
            {"unique_orders_id": "fail"}, (1, "Done. PASS=2 WARN=0 ERROR=2 SKIP=2 NO-OP=0 TOTAL=6"), id="a-test-fails"
        ),
        pytest.param(
            {"unique_orders_id": "warn"}, (1, "Done. PASS=3 WARN=1 ERROR=1 SKIP=1 NO-OP=0 TOTAL=6"), id="a-warning"
        ),
        pytest.param({"totals": "skipped"}, (1, "Done. PASS=3 WARN=0 ERROR=1 SKIP=2 NO-OP=0 TOTAL=6"), id="a-skip"),
        pytest.param({"broken": "success"}, (0, "Done. PASS=6 WARN=0 ERROR=0 SKIP=0 NO-OP=0 TOTAL=6"), id="mended"),
    ],
)
def test_a_script_lets_nodes_of_a_recording_end_otherwise(
    nodes: dict[str, NodeOutcome | str], ended: tuple[int, str], replay: FakeVenv, project: Path
) -> None:
    replay.script(nodes=nodes)

    done = call(replay.dbt, "build", cwd=project)

    assert (done.returncode, lines_of(done.stdout)[-1]) == ended
    assert call(replay.dbt, "seed", cwd=project).returncode == 0


def test_a_script_for_a_node_that_was_not_recorded_fails_its_test(
    cosmos_fake_venv: FakeVenv, project: Path, tmp_path: Path
) -> None:
    cosmos_fake_venv.replay(write_recording(tmp_path / "recording"))
    cosmos_fake_venv.script("build", nodes={"ordres": "error"})

    assert call(cosmos_fake_venv.dbt, "build", cwd=project).returncode == 2
    with pytest.raises(ToolkitMisuse, match="the project 'shop' has no node of this name"):
        cosmos_fake_venv.close()
    cosmos_fake_venv.forget()
    for file in (cosmos_fake_venv.folder / "forgotten").iterdir():
        file.unlink()
