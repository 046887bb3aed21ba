"""CMD: which dbt command an operator runs, with which dbt, what dbt finds around it, and what its exit code does."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, TemplateError

from pytest_cosmos_venv import DbtCall, FakeVenv

from ..adapter import COMMANDS, OPERATOR_CLASSES, TaskOfDag
from ..harness.harness import Harness
from ..harness.runs import dbt_running, is_below, ran
from ..requirements import PYTHON_DBT, case, needing, requirement

LAST_WORDS = "Database Error: the harbor is closed"
PARSED, PARSED_NODE = "partial_parse.msgpack", "models/orders.sql"
_FALSE = ("0", "f", "false", "n", "no", "off")
"""The values that dbt takes for false in a variable."""
TRICKY = "two words, 'single' and \"double\" quotes, $HOME `tide` \\ %s {{ jinja }}\nsecond line: ünïcødé 港"
CONNECTION = "postgres://harbor:s3cret%20t1de@pier.example:5433/shop"
PROFILE = {
    "type": "postgres",
    "host": "pier.example",
    "port": "5433",
    "user": "harbor",
    "password": "s3cret t1de",
    "dbname": "shop",
    "schema": "marts",
}
"""The same connection in dbt's words; the schema is an argument of the mapping."""
ALSO_CALLED = {"password": "pass", "dbname": "database"}
"""Other names that dbt's adapter takes for the same fields."""
_FILTERS_OF_DBT = ("as_native", "as_bool", "as_number", "as_text")
"""Filters that change the type of a value, but not its text."""


@pytest.mark.parametrize(
    "command",
    [
        case("CMD-001", "build"),
        case("CMD-002", "ls"),
        case("CMD-003", "seed"),
        case("CMD-004", "snapshot"),
        case("CMD-005", "source freshness"),
        case("CMD-006", "run"),
        case("CMD-007", "test"),
        case("CMD-008", "run-operation"),
        case("CMD-009", "docs generate"),
        case("CMD-010", "clone"),
    ],
)
def test_each_operator_runs_its_command(harness: Harness, command: str) -> None:
    name = OPERATOR_CLASSES[command]

    outcome = harness.run(harness.shared_task(command))

    assert outcome.succeeded, f"{name} must succeed; seen: {outcome}"
    calls = [call for call in harness.calls() if call.command not in ("deps", "--version")]
    assert [call.command for call in calls] == [command], f"{name} must run dbt {command}, once; seen: {calls}"
    arguments = calls[0].arguments
    for option, value in ((("--profile",), "shop"), (("--target", "-t"), "dev")):
        given = calls[0].option(*option) or calls[0].env.get(f"DBT_{option[0].strip('-').upper()}")
        assert given == value, f"{name} must hand {option[0]} {value} on to dbt; seen: {arguments}"
    # dbt takes the macro before and after options, and never as the value of one.
    words = (*command.split(), *(["grant"] if command == "run-operation" else []))
    assert calls[0].words == words, f"{name} must run dbt {' '.join(words)}; seen: {arguments}"


@requirement("CMD-011")
def test_the_dbt_of_the_environment_runs(harness: Harness, cosmos_fake_venv: FakeVenv) -> None:
    path = f"{cosmos_fake_venv.dbt.parent}{os.pathsep}{os.environ['PATH']}"

    prefix = ran(harness, harness.shared_task(), {"PATH": path}).prefix

    assert not cosmos_fake_venv.calls, f"the dbt on PATH must not run; seen: {cosmos_fake_venv.calls}"
    kept = harness.shared_directory
    assert is_below(prefix, kept), f"dbt must run from below {kept}; seen: {prefix}"


@requirement("CMD-014")
@pytest.mark.parametrize("exit_code", [1, pytest.param(2, marks=needing(PYTHON_DBT))])  # a native dbt ends with 1
def test_a_dbt_that_fails_fails_the_task(harness: Harness, exit_code: int) -> None:
    harness.wheelhouse.script("run", exit_code=exit_code)

    outcome = harness.run(harness.shared_task())

    codes = [call.exit_code for call in harness.calls("run")]
    assert codes == [exit_code], f"dbt run must be called once, and end with {exit_code}; seen: {codes}, {outcome}"
    assert outcome.state == "failed", f"dbt's exit code {exit_code} must fail the task; seen: {outcome}"


@requirement("CMD-015")
def test_the_error_has_dbts_last_words(harness: Harness) -> None:
    harness.wheelhouse.script("run", exit_code=2, stdout=["Running with dbt=1.10.0", LAST_WORDS])

    outcome = harness.run(harness.shared_task())

    assert LAST_WORDS in str(outcome.exception), (
        f"the error must have what dbt said last ({LAST_WORDS}); seen: {outcome.exception}"
    )


@requirement("CMD-017")
@pytest.mark.parametrize("install_deps", [True, False])
def test_packages_are_installed_by_the_dbt_of_the_environment(harness: Harness, install_deps: bool) -> None:
    # Each test has a different list: an implementation may keep the packages that dbt deps has installed.
    listed = f"# {harness.folder}\npackages:\n- package: harbor/tides\n  version: 1.0.0\n"
    (harness.project / "packages.yml").write_text(listed, encoding="utf-8")
    if not install_deps:  # dbt refuses a project whose packages are not there
        folder = harness.project / "dbt_packages" / "tides"
        folder.mkdir(parents=True)
        (folder / "dbt_project.yml").write_text("name: tides\n")

    outcome = harness.run(harness.shared_task(install_deps=install_deps))

    assert outcome.succeeded, f"the task must succeed with install_deps={install_deps}; seen: {outcome}"
    calls = [call for call in harness.calls() if call.command in ("deps", "run")]
    required = ["deps", "run"] if install_deps else ["run"]
    seen = [call.command for call in calls]
    assert seen == required, f"install_deps={install_deps} must lead to dbt {' and dbt '.join(required)}; seen: {seen}"
    prefixes = {call.prefix for call in calls}
    assert len(prefixes) == 1, f"dbt deps must be that of the environment in which dbt run runs; seen: {prefixes}"


@pytest.mark.parametrize(
    ("mode", "groups"),
    [
        case("CMD-018", "local", ()),
        case("CMD-024", "none in a DbtDag", ()),
        case("CMD-024", "none in a DbtTaskGroup", ("shop",)),
    ],
)
def test_local_mode_which_is_the_default_runs_the_dbt_that_is_named(
    harness: Harness, cosmos_fake_venv: FakeVenv, project: Path, mode: str, groups: tuple[str, ...]
) -> None:
    named = {"dbt_executable_path": str(cosmos_fake_venv.dbt), "invocation_mode": "subprocess"}
    local = {"execution_mode": "local", **named}
    plan = harness.dag_plan(project, groups=groups, execution=local)

    outcome = harness.run(TaskOfDag(command="run", plan=replace(plan, execution=local if mode == "local" else named)))

    assert outcome.succeeded, f"a task must succeed where the mode that is named is {mode}; seen: {outcome}"
    seen = [(call.command, call.argv[0]) for call in cosmos_fake_venv.calls if call.command != "--version"]
    required = [("run", str(cosmos_fake_venv.dbt))]
    assert seen == required, f"where the mode that is named is {mode} a task must run {required}; seen: {seen}"


def _target_folder(call: DbtCall) -> Path:
    """The folder in which this dbt keeps its artifacts."""
    project = Path(call.option("--project-dir") or call.cwd)
    return project / (call.option("--target-path") or call.env.get("DBT_TARGET_PATH") or "target")


@requirement("CMD-012")
def test_the_profile_comes_from_the_connection(harness: Harness) -> None:
    profile = harness.mapped_profile("warehouse", "marts")
    task = harness.task(profile=profile, py_requirements=harness.requirements(adapter="postgres"))

    with dbt_running(harness, task, AIRFLOW_CONN_WAREHOUSE=CONNECTION) as call:
        output = _profile_output(call)

    seen = {name: output.get(name, output.get(ALSO_CALLED.get(name, ""))) for name in PROFILE}
    assert seen == PROFILE, f"the profile that dbt is led to must say {PROFILE}; seen: {seen}"


def _profile_output(call: DbtCall) -> dict[str, str]:
    """The target that the profile of a running dbt names; variables are resolved as dbt does it."""
    folder = call.option("--profiles-dir") or call.env.get("DBT_PROFILES_DIR") or str(call.cwd)
    profiles = Path(folder, "profiles.yml")
    assert profiles.is_file(), f"dbt must be led to a profiles.yml; seen: {call.arguments}"
    read = _from_yaml(profiles.read_text(encoding="utf-8"))
    try:
        profile = read[str(call.option("--profile"))]
        output: dict[str, Any] = profile["outputs"][str(call.option("--target", "-t") or profile["target"])]
    except (KeyError, TypeError):
        raise AssertionError(f"profiles.yml must have dbt's profile and target; seen: {read}") from None

    def env_var(name: str, default: str | None = None) -> str:
        return call.env.get(name, f"({name} is not set)" if default is None else default)

    jinja = Environment(autoescape=False)  # noqa: S701 - YAML is what it makes
    jinja.filters.update(dict.fromkeys(_FILTERS_OF_DBT, str))
    try:
        return {name: jinja.from_string(str(value)).render(env_var=env_var) for name, value in output.items()}
    except TemplateError as error:
        raise AssertionError(f"profiles.yml must be one that dbt can render: {error}; seen: {output}") from None


@pytest.mark.parametrize("place", [case("CMD-013", "DbtDag"), case("CMD-021", "operator")])
def test_a_parse_file_of_the_project_is_used(harness: Harness, project: Path, place: str) -> None:
    plan = harness.dag_plan(project, operator_args={"virtualenv_dir": str(harness.shared_directory)})
    rendered = TaskOfDag(command="run", plan=plan)
    task = rendered if place == "DbtDag" else harness.shared_task(project_dir=str(project), profile=plan.profile)
    _put_parse_file(project)

    with dbt_running(harness, task) as call:
        folder = _target_folder(call)
        seen = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
        content = (folder / PARSED).read_bytes() if PARSED in seen else b""

    assert PARSED in seen, f"the project's {PARSED} must lie in dbt's target folder, {folder}; seen there: {seen}"
    assert PARSED_NODE.encode() in content, f"it must say what the project's says ({PARSED_NODE}); seen: {content!r}"


@requirement("CMD-019")
def test_partial_parsing_can_be_turned_off(harness: Harness) -> None:
    _put_parse_file(harness.project)

    with dbt_running(harness, harness.shared_task(partial_parse=False)) as call:
        is_there = (_target_folder(call) / PARSED).exists()

    said = call.env.get("DBT_PARTIAL_PARSE", "")
    is_told = "--no-partial-parse" in call.arguments or said.lower() in _FALSE
    assert is_told or not is_there, (
        f"partial_parse=False must lead to --no-partial-parse, or keep {PARSED} from dbt; seen: {call.arguments}, "
        f"DBT_PARTIAL_PARSE={said}, and the file"
    )


def _from_yaml(text: str) -> Any:
    """The value of a text that dbt reads as YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise AssertionError(f"what dbt is given must be YAML; seen: {text!r}: {error}") from None


def _put_parse_file(project: Path) -> None:
    """Write a parse file as dbt leaves it, as far as implementations look into it."""
    home = {"searched_path": "models", "relative_path": "orders.sql", "project_root": str(project)}
    files = {f"{project.name}://{PARSED_NODE}": {"path": home, "project_name": project.name}}
    content = {"metadata": {"project_name": project.name}, "nodes": {}, "macros": {}, "files": files}
    (project / "target").mkdir(exist_ok=True)
    (project / "target" / PARSED).write_bytes(_packed(content))


def _packed(value: Any) -> bytes:
    """A mapping or a text in MessagePack, in which dbt writes its parse file."""
    if isinstance(value, str):
        return b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode()
    return b"\xdf" + struct.pack(">I", len(value)) + b"".join(_packed(each) for pair in value.items() for each in pair)


@requirement("CMD-016")
def test_variables_of_the_environment_reach_dbt_unchanged(harness: Harness) -> None:
    call = ran(harness, harness.shared_task(env={"TIDE": TRICKY}))

    assert call.env.get("TIDE") == TRICKY, f"env must reach dbt unchanged: {TRICKY!r}; seen: {call.env.get('TIDE')!r}"


@requirement("CMD-025")
def test_variables_of_the_project_reach_dbt_unchanged(harness: Harness) -> None:
    call = ran(harness, harness.shared_task(vars={"tide": TRICKY, "depth": 7}))

    seen = _from_yaml(call.option("--vars") or "")
    assert seen == {"tide": TRICKY, "depth": 7}, f"vars must reach dbt unchanged: {TRICKY!r}; seen: {seen!r}"


@requirement("CMD-020")
def test_dbt_has_nothing_on_its_standard_input(harness: Harness) -> None:
    call = ran(harness, harness.shared_task(standard_input="the supervisor's answer\n"))

    assert call.stdin == "", f"dbt must find nothing on its standard input, and its end; seen: {call.stdin!r}"


@requirement("CMD-022")
def test_the_error_names_the_node_that_a_native_dbt_has_failed(harness: Harness) -> None:
    harness.wheelhouse.script("run", nodes={"orders": "error"})

    outcome = harness.run(harness.native_task())

    codes = [call.exit_code for call in harness.calls("run")]
    assert codes == [1], f"dbt run must be called once, and end with 1; seen: {codes}, {outcome}"
    assert outcome.state == "failed", f"dbt's exit code 1 must fail the task; seen: {outcome}"
    assert "orders" in str(outcome.exception), f"the error must name the failed node, orders; seen: {outcome.exception}"


@pytest.mark.parametrize(
    "command", [case("CMD-023", command, needs=COMMANDS[command]) for command in ("source freshness", "docs generate")]
)
def test_what_a_native_dbt_has_not_done_is_no_success(harness: Harness, command: str) -> None:
    ran(harness, harness.native_task())  # else an implementation without native dbt would pass, too

    outcome = harness.run(harness.native_task(command))

    # An implementation that calls another command of dbt instead may succeed.
    undone = [call.exit_code for call in harness.calls(command)]
    assert not (undone and outcome.succeeded), (
        f"a task whose dbt does not have {command}, warns and ends with 0, must not succeed; seen: {outcome}, after "
        f"dbt {command} ended with {undone}"
    )
