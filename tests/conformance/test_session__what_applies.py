"""What is judged of an implementation follows from what it declares, and from the fake dbt of the run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from benchmarks.suite_run import run_suite
from conformance.adapter import COMMANDS, Adapter
from conformance.declaration import read_declaration, told_by
from conformance.reporting.report import read_report
from conformance.requirements import PYTHON_DBT, Level, Requirement
from conformance.session import why_it_does_not_apply
from tests.conformance.few_operators import HAS, FewOperatorsAdapter
from tests.conformance.prepared_suite import run_suite_itself
from tests.environments.elsewhere import require_namespaces

COMPATIBILITY = "renders_as_cosmos_1_15"


class Plain(Adapter):
    import_root = "plain"
    has: ClassVar[frozenset[str]] = frozenset({"deps"})


class Compatible(Plain):
    beyond: ClassVar[frozenset[str]] = frozenset({COMPATIBILITY})


@pytest.mark.parametrize(
    ("needs", "implementation", "kind", "expected"),
    [
        pytest.param("deps", Plain, "python", [], id="it-has-it"),
        pytest.param("vars", Plain, "python", ["vars is not declared"], id="it-has-it-not"),
        pytest.param(COMPATIBILITY, Plain, "python", [f"{COMPATIBILITY} is not declared"], id="says-nothing"),
        pytest.param(COMPATIBILITY, Compatible, "python", [], id="declares-the-compatibility"),
        pytest.param(PYTHON_DBT, Plain, "python", [], id="python-dbt"),
        pytest.param(PYTHON_DBT, Plain, "native", ["the dbt of this run is a native one"], id="native-dbt"),
        pytest.param("deps", Plain, "native", [], id="for-any-dbt"),
    ],
)
def test_a_requirement_applies_to_who_has_what_it_needs(
    needs: str, implementation: type[Adapter], kind: str, expected: list[str]
) -> None:
    one = Requirement(id="A-001", level=Level.BEYOND, sentence="It holds.", needs=(needs,))

    declared = read_declaration(told_by(implementation(), "1.0"), ())

    assert why_it_does_not_apply(one, declared, kind=kind) == expected


def test_a_case_that_uses_a_command_without_an_operator_does_not_apply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "from pytest_cosmos_venv.conformance.cosmos_layout import CosmosLayout\n"
        "class Mine(CosmosLayout):\n"
        "    import_root = 'cosmos_venv'\n"
        "    has = CosmosLayout.has - {'command_test', 'command_build'}\n"
    )
    (tmp_path / "no_tests.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    cases = "(test_each_model or test_tasks_come) and after or under-build or refused-with-test-behavior"

    done = run_suite_itself("-k", cases, "--cosmos-report=out", folder=tmp_path, implementation="no_tests:Mine")

    assert done.returncode == 11, done.stdout + done.stderr
    requirements = read_report(tmp_path / "out")["requirements"]
    seen = {each["id"]: [test["verdict"] for test in each["tests"]] for each in requirements if each["tests"]}
    lacking = "not applicable"
    assert seen == {
        "SEED-001": [lacking],
        "SEED-033": [lacking],
        "RENDER-001": [lacking, lacking],
        "RENDER-002": [lacking],
    }


def _collected(folder: Path, *options: str, implementation: str) -> set[str]:
    """Names of the files and the functions of the checks."""
    done = run_suite_itself("--collect-only", "-q", *options, implementation=implementation, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.rpartition("/")[2].partition("[")[0] for line in done.stdout.splitlines() if "::" in line]
    return {name for line in lines for name in line.split("::")}


def test_an_import_root_is_judged_by_all_profiles_and_the_user_chooses_among_them(tmp_path: Path) -> None:
    everything = _collected(tmp_path, implementation="cosmos_venv")
    seeds = _collected(tmp_path, "--cosmos-profiles=seeds", implementation="cosmos_venv")
    core = _collected(tmp_path, "--cosmos-profiles=core", implementation="cosmos_venv")

    of_locks = "test_the_lock_file_names_the_task_that_installs"
    assert {"test_seed.py", "test_dags.py", "test_remote.py", of_locks, "test_env.py"} <= everything
    assert {name for name in seeds - core if name.endswith(".py")} == {"test_seed.py"}, "core is judged always"
    assert {"test_env.py", "test_kill.py", "test_smoke.py"} <= core
    assert not core & {"test_seed.py", "test_dags.py", "test_remote.py", of_locks}


def test_an_adapter_that_opts_into_nothing_is_judged_by_core_and_the_end_names_what_was_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)

    done = run_suite_itself("-k", "no_such_check", folder=tmp_path)

    assert "profiles core, 25 rounds\n" in done.stdout
    assert (
        "partial run: judged by core at level MUST; not judged: dags, seeds, locks, watcher, async, machines\n"
        in done.stdout
    )
    assert "WATCH" not in done.stdout, "the run with servers would judge nothing more of it"


def test_the_requirements_of_a_version_of_the_specification_are_judged_alone(tmp_path: Path) -> None:
    options = ["-k", "no_such_check", "--cosmos-spec=1.1", "--cosmos-report=out"]

    done = run_suite_itself(*options, folder=tmp_path, implementation="cosmos_venv")

    assert "conformance: specification 1.3, requirements of 1.1, suite" in done.stdout
    report = read_report(tmp_path / "out")
    assert {each["since"] for each in report["requirements"]} == {"1.0", "1.1"}
    assert (report["specification"], report["options"]["spec"]) == ("1.3", "1.1")


def _not_applicable(report: dict[str, str]) -> set[str]:
    return {unique for unique, verdict in report.items() if verdict == "not applicable"}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_three_of_ten_operators_are_judged_by_these_three() -> None:
    named = f"{FewOperatorsAdapter.__module__}:{FewOperatorsAdapter.__qualname__}"

    run = run_suite(Path(sys.executable), named, "--cosmos-requirement=API-*,CMD-*,LOAD-*,RENDER-*,ERR-*")

    assert run.report["profiles"]["not_judged"] == ["seeds", "watcher", "async"]
    judged = {each["id"]: each["verdict"] for each in run.report["requirements"] if each["tests"]}
    assert set(judged.values()) == {"passed", "not applicable"}, judged
    lacking = {f"command_{name}" for name in ("seed", "ls", "clone")}
    assert lacking <= {*COMMANDS.values()}.difference(COMMANDS[name] for name in HAS if name != "run")
    assert {"CMD-002", "CMD-003", "CMD-010", "RENDER-004"} <= _not_applicable(judged)
    assert {judged[unique] for unique in ("API-001", "CMD-001", "CMD-007", "LOAD-001", "RENDER-001")} == {"passed"}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_suite_runs_with_a_native_dbt() -> None:
    require_namespaces()

    run = run_suite(Path(sys.executable), "cosmos_venv", "--cosmos-dbt-kind=native")

    met = [each for each in run.report["requirements"] if each["tests"]]
    python_alone = {each["id"] for each in met if PYTHON_DBT in each["needs"]}
    assert python_alone
    assert run.report["options"]["dbt_kind"] == "native"
    others = {each["id"]: each["verdict"] for each in met if each["verdict"] != "passed"}
    assert others == dict.fromkeys(python_alone, "not applicable")
    assert run.exit_code == 0
