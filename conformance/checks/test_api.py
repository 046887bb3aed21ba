"""API: the classes, parameters and errors that the documentation names, and what runs and DAGs give back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from ..adapter import COMMANDS, OPERATOR_CLASSES, TaskOfDag
from ..cosmos_layout import open_adapter
from ..declaration import Declaration
from ..harness import processes
from ..harness.harness import Harness
from ..harness.runs import is_below, ran, unpacked
from ..requirements import case, requirement

BASE, CLEAN = "DbtVirtualenvBaseOperator", "clean_dir_if_temporary"
DEFAULTS = {
    "py_requirements": None,
    "pip_install_options": None,
    "py_system_site_packages": False,
    "virtualenv_dir": None,
    "is_virtualenv_dir_temporary": False,
}

METHODS = {
    "run_subprocess": ["command", "env", "cwd"],
    "run_command": ["cmd", "env", "context"],
    "clean_dir_if_temporary": [],
    "execute": ["context"],
    "on_kill": [],
}
"""Name -> its first parameters."""
DOCUMENTED = {
    "": ["DbtDag", "DbtTaskGroup", "ProjectConfig", "ProfileConfig", "ExecutionConfig", "RenderConfig"],
    "constants": ["ExecutionMode", "SeedRenderingBehavior"],
    "profiles": ["PostgresUserPasswordProfileMapping"],
}
"""Module below the import root -> what examples import from it."""


@pytest.fixture
def classes(harness: Harness) -> dict[str, dict[str, list[str]]]:
    """Name of each operator class -> its ancestors and its template fields.

    :param harness: asks the implementation.
    """
    found: dict[str, dict[str, list[str]]] = harness.ask("operator_classes")
    return found


@pytest.mark.parametrize(
    "name", [case("API-001", name, needs=COMMANDS.get(command)) for command, name in OPERATOR_CLASSES.items()]
)
def test_each_operator_is_a_virtualenv_operator_and_a_local_one(
    classes: dict[str, dict[str, list[str]]], name: str
) -> None:
    assert name in classes, f"operators.virtualenv must have {name}; it has {', '.join(classes)}"
    ancestors = classes[name]["ancestors"]

    for expected in (BASE, name.replace("Virtualenv", "Local"), "DbtLocalBaseOperator"):
        assert expected in ancestors, f"{name} must be a {expected}; its ancestors are {', '.join(ancestors)}"


@requirement("API-002")
def test_the_base_class_takes_the_documented_parameters(harness: Harness) -> None:
    defaults = harness.ask("base_methods", names=["__init__"])["__init__"]

    own = {name: value for name, value in defaults.items() if name in DEFAULTS}
    assert list(own.items()) == list(DEFAULTS.items()), f"{BASE} must take {DEFAULTS}, in this order; seen: {own}"


@requirement("API-002")
def test_a_directory_may_be_a_path(harness: Harness) -> None:  # in all other checks it is a text
    place = Path(harness.shared_directory)

    call = ran(harness, harness.task(virtualenv_dir=place))

    assert is_below(call.prefix, place), f"dbt must run from virtualenv_dir={place!r}; seen: {call.prefix}"


@requirement("API-003")
def test_the_directory_is_a_template_in_every_operator(classes: dict[str, dict[str, list[str]]]) -> None:
    assert BASE in classes, f"operators.virtualenv must have {BASE}; it has {', '.join(classes)}"
    inherited = classes.pop("DbtLocalBaseOperator")["template_fields"]
    own = ["virtualenv_dir", "is_virtualenv_dir_temporary"]

    fields = classes[BASE]["template_fields"]
    assert fields == [*inherited, *own], (
        f"template_fields of {BASE} must be those of its local base and {own}; seen: {fields}, inherited: {inherited}"
    )
    without = {
        name: missing
        for name, each in classes.items()
        if (missing := [field for field in fields if field not in each["template_fields"]])
    }
    assert not without, f"every operator must have the template fields of {BASE}; seen operators that lack: {without}"


@requirement("API-004")
@pytest.mark.parametrize("given", [{}, {"invocation_mode": "dbt_runner"}], ids=["by-default", "dbt-runner"])
def test_an_operator_runs_dbt_as_a_process_of_its_own(harness: Harness, given: dict[str, Any]) -> None:
    seen = harness.ask("invocation_mode", task=harness.task(**given))

    assert "SUBPROCESS" in seen.upper(), f"invocation_mode must be SUBPROCESS; seen: {seen}"


@requirement("API-006")
@pytest.mark.parametrize("method", ["_is_lock_available", "_acquire_venv_lock", "_release_venv_lock"])
def test_a_lock_needs_a_directory(harness: Harness, method: str) -> None:
    error = harness.error_of(harness.task(), method)

    kinds = error["kinds"] if error else []
    assert "CosmosValueError" in kinds, f"{method} without virtualenv_dir must raise CosmosValueError; seen: {error}"


@requirement("API-009")
def test_the_base_class_has_the_documented_methods(harness: Harness) -> None:
    seen = harness.ask("base_methods", names=list(METHODS))

    missing = [name for name in METHODS if name not in seen]
    assert not missing, f"{BASE} must have the methods {', '.join(METHODS)}; seen: {', '.join(seen)}"
    for name, parameters in METHODS.items():
        first = list(seen[name])[: len(parameters)]
        assert first == parameters, f"{BASE}.{name} must take {parameters}, in this order; seen: {list(seen[name])}"


@requirement("API-010")
def test_the_retries_of_the_lock_are_a_setting_of_airflow(adapter: Declaration, tmp_path: Path) -> None:
    (tmp_path / "airflow.cfg").write_text("[cosmos]\nvirtualenv_max_retries_lock = 7\n", encoding="utf-8")
    opened = f"from {open_adapter.__module__} import open_adapter; opened = open_adapter({adapter.named!r})"
    code = f"{opened}; print('seen:', repr(opened.settings().virtualenv_max_retries_lock))"
    home = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW_CONFIG": str(tmp_path / "airflow.cfg")}

    finished = processes.run([sys.executable, "-c", code], environment=home, cwd=tmp_path)

    assert "seen: 7\n" in finished.output, (
        f"settings.virtualenv_max_retries_lock must be the int 7 that [cosmos] says in airflow.cfg; seen: {finished}"
    )


@requirement("API-014")
def test_what_examples_import_is_found(harness: Harness) -> None:
    missing = harness.ask("missing_names", names=DOCUMENTED)

    assert not missing, f"What the documentation imports must be found where it does; seen: no {', '.join(missing)}"


@pytest.mark.parametrize(
    "kind", [case("API-015", "a path"), case("API-015", "a text"), case("API-017", "a relative path")]
)
def test_the_first_argument_names_the_project(harness: Harness, project: Path, kind: str) -> None:
    first = {"a path": project, "a text": str(project), "a relative path": project.name}[kind]
    named = {"dbt_project_path": first, "manifest_path": str(project / "target" / "manifest.json")}

    seen = harness.render(harness.dag_plan(project, project=named, folder=str(project.parent)))

    assert seen.tasks, f"ProjectConfig({first!r}) in {project.parent} must name the folder; seen: {seen}"


@requirement("API-005")
@pytest.mark.parametrize("groups", [(), ("shop",)], ids=["DbtDag", "DbtTaskGroup"])
def test_dbt_runner_is_refused_in_virtualenv_mode(harness: Harness, project: Path, groups: tuple[str, ...]) -> None:
    plan = harness.dag_plan(project, groups=groups, execution={"invocation_mode": "dbt_runner"})

    error = harness.error_of(plan)

    kinds = error["kinds"] if error else []
    assert "CosmosValueError" in kinds, (
        "ExecutionConfig(execution_mode=VIRTUALENV, invocation_mode=DBT_RUNNER), or at the latest the DAG built with "
        f"it, must raise CosmosValueError; seen: {error}"
    )


@requirement("API-007")
@pytest.mark.parametrize("groups", [(), ("shop",)], ids=["DbtDag", "DbtTaskGroup"])
@pytest.mark.parametrize("place", ["operator_args", "execution"])
def test_a_dag_in_virtualenv_mode_keeps_its_environment_where_it_is_told(
    harness: Harness, project: Path, place: str, groups: tuple[str, ...]
) -> None:
    told = harness.shared_directory
    kept: dict[str, Any] = {place: {"virtualenv_dir": str(told)}}
    plan = harness.dag_plan(project, groups=groups, **kept)

    prefix = ran(harness, TaskOfDag(command="run", plan=plan)).prefix

    assert is_below(prefix, told), f"dbt must run from an environment in {told}, named in {place}; seen: {prefix}"


@requirement("API-008")
@pytest.mark.parametrize("what", ["operator", "dag"])
def test_building_makes_nothing(harness: Harness, project: Path, what: str) -> None:
    kept = {"virtualenv_dir": str(harness.virtualenv_dir)}
    make = harness.kept_task() if what == "operator" else harness.dag_plan(project, operator_args=kept)

    traces = harness.ask("traces_of", make=make)

    ours = [trace for trace in traces if trace.startswith("process:") or str(harness.folder) in trace]
    assert not ours, f"making the {what} must start no process and change nothing in {harness.folder}; seen: {ours}"
    assert not harness.virtualenv_dir.exists(), f"making the {what} must not make virtualenv_dir; seen: it is there"


@requirement("API-012")
def test_ordinary_dag_parameters_reach_the_dag_and_its_tasks(harness: Harness, project: Path) -> None:
    for catchup in (False, True):  # one of them is this Airflow's default
        ordinary: Mapping[str, Any] = {
            "dag_id": "nightly",
            "schedule": "@daily",
            "start_date": datetime(2023, 1, 1, tzinfo=timezone.utc),
            "catchup": catchup,
            "default_args": {"retries": 2, "owner": "harbor"},
        }

        seen = harness.ask("dag_facts", make=harness.dag_plan(project, dag=ordinary))

        required = harness.ask("dag_facts", make=ordinary)
        assert seen == required, f"a DbtDag must take the parameters of a DAG as a DAG does: {required}; seen: {seen}"


@requirement("API-016")
def test_a_schedule_interval_is_the_schedule(harness: Harness, project: Path) -> None:
    named = {"dag_id": "nightly", "start_date": datetime(2023, 1, 1, tzinfo=timezone.utc)}
    plan = replace(harness.dag_plan(project), dag={**named, "schedule_interval": "@daily"})

    error = harness.error_of(plan)

    if error is None:
        seen = harness.ask("dag_facts", make=plan)["schedule"]
        required = harness.ask("dag_facts", make={**named, "schedule": "@daily"})["schedule"]
        assert seen == required, f"schedule_interval must be the schedule of a DbtDag, {required}; seen: {seen}"
    else:
        refused = harness.error_of(plan.dag)
        assert refused, f"a DbtDag must take schedule_interval, as this Airflow's DAG does; seen: {error}"
        assert "schedule_interval" in error["text"], f"the error must name schedule_interval; seen: {error}"


@requirement("API-018")
@pytest.mark.parametrize("calls", [[CLEAN], ["execute", CLEAN]], ids=["before-a-run", "after-a-run"])
def test_cleaning_leaves_a_kept_environment(harness: Harness, calls: list[str]) -> None:
    task = harness.kept_task()
    prefix = ran(harness, task).prefix
    before = unpacked(prefix)

    error = harness.error_of(task, *calls, variables=harness.wheelhouse.environment)

    assert error is None, f"{' and then '.join(calls)} must raise nothing; seen: {error}"
    said = f"clean_dir_if_temporary() must leave an environment that is not temporary as it is, {prefix}"
    assert before, f"{said}; seen: nothing is there after a run"
    now = unpacked(prefix)
    assert now == before, f"{said}; seen: of {sorted(before)} there are {sorted(now)}, with other files or none"


@requirement("API-018")
def test_cleaning_leaves_nothing_of_a_temporary_environment(harness: Harness) -> None:
    task = harness.kept_task(is_virtualenv_dir_temporary=True)
    variables = {**harness.wheelhouse.environment, **harness.own_temporary}

    error = harness.error_of(task, "execute", CLEAN, variables=variables)

    assert error is None, f"execute and then {CLEAN} must raise nothing; seen: {error}"
    prefixes = [call.prefix for call in harness.calls("run")]
    assert prefixes, "the operator must run dbt; seen: no call"
    left = [prefix for prefix in prefixes if prefix.exists()]
    assert not left, f"clean_dir_if_temporary() must leave nothing of the run's environment; seen: {left}"


@requirement("API-011")
def test_run_command_returns_what_dbt_said(harness: Harness) -> None:
    harness.wheelhouse.script("run", stdout=["the tide comes in", "the tide goes out"], stderr=["a gull cries"])

    seen = harness.ask("result_of_run_command", task=harness.shared_task(), command=["dbt", "run"])

    assert seen.get("exit_code") == 0, f"the result of run_command must have exit_code 0; seen: {seen}"
    lines = [str(line).strip() for line in seen.get("full_output") or ()]
    missing = [line for line in ("the tide comes in", "the tide goes out", "a gull cries") if line not in lines]
    assert not missing, f"full_output must have each line that dbt wrote, on stderr too; missing: {missing} in {seen}"
    assert str(seen.get("output", "")).strip() in lines, f"output must be a line that dbt wrote; seen: {seen}"


@requirement("API-013")
def test_templates_of_directory_and_flag_are_rendered(harness: Harness) -> None:
    meant = harness.shared_directory
    named = harness.task(under_airflow=True, virtualenv_dir=f"{meant.parent}/{{{{ '{meant.name}' }}}}")
    flagged = named.with_arguments(virtualenv_dir=str(meant), is_virtualenv_dir_temporary="{{ 1 > 2 }}")

    outcome = harness.run(named, flagged)

    assert outcome.succeeded, f"tasks with templates must succeed; seen: {outcome}"
    calls = harness.calls("run")
    assert len(calls) == 2, f"each of two tasks must run dbt once; seen: {harness.calls()}"
    for task, call in zip((named, flagged), calls, strict=True):
        told = {name: task.arguments.get(name) for name in ("virtualenv_dir", "is_virtualenv_dir_temporary")}
        assert is_below(call.prefix, meant), f"{told} must lead to an environment in {meant}; seen: {call.prefix}"
