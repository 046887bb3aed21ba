"""The parameters of the operators, local and in a virtual environment: each does what it says, or is refused."""

from __future__ import annotations

import os
import shlex
import signal
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

import pytest

from cosmos_venv.compat import DAG, AirflowException, BaseOperator
from cosmos_venv.constants import InvocationMode
from cosmos_venv.exceptions import CommandKilled, CosmosValueError
from cosmos_venv.managed.resolve import VirtualenvArguments
from cosmos_venv.operators import airflow_async, domain_ready, local, run_summary, virtualenv, watcher
from cosmos_venv.operators.local_base import DbtLocalBaseOperator
from cosmos_venv.operators.parameters import OF_SOME_OPERATORS, parameters
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests.kit import MakeTask, operator_arguments

COMMANDS: dict[str, list[str]] = {
    "Build": ["build"],
    "Clone": ["clone"],
    "Compile": ["compile"],
    "Docs": ["docs", "generate"],
    "LS": ["ls"],
    "Run": ["run"],
    "SemanticMetricView": ["run"],
    "RunOperation": ["run-operation", "grant"],
    "Seed": ["seed"],
    "Snapshot": ["snapshot"],
    "Source": ["source", "freshness"],
    "Test": ["test"],
}
"""Operator -> its words. The virtualenv mode has all but compile, as in Cosmos."""

BEFORE, OWN, AFTER = "between dbt and the command", "after the command", "last"
PLACES: list[tuple[dict[str, Any], list[str], str]] = [
    ({"dbt_cmd_global_flags": ["--log-level", "debug"]}, ["--log-level", "debug"], BEFORE),
    ({"partial_parse": False}, ["--no-partial-parse"], BEFORE),
    ({"indirect_selection": "cautious"}, ["--indirect-selection", "cautious"], OWN),
    ({"select": ["tag:a", "b+"]}, ["--select", "tag:a b+"], OWN),
    ({"select": ""}, ["--select", ""], OWN),
    ({"select": []}, [], OWN),
    ({"exclude": "c"}, ["--exclude", "c"], OWN),
    ({"selector": "nightly"}, ["--selector", "nightly"], OWN),
    ({"vars": {"b": 1, "a": 2}}, ["--vars", "a: 2\nb: 1\n"], OWN),
    ({"vars": "{a: 2}"}, ["--vars", "{a: 2}"], OWN),
    ({"vars": {}}, ["--vars", "{}\n"], OWN),
    ({"models": "m"}, ["--models", "m"], OWN),
    ({"no_version_check": True}, ["--no-version-check"], OWN),
    ({"cache_selected_only": True}, ["--cache-selected-only"], OWN),
    ({"fail_fast": True}, ["--fail-fast"], OWN),
    ({"quiet": True}, ["--quiet"], OWN),
    ({"warn_error": True}, ["--warn-error"], OWN),
    ({"dbt_cmd_flags": ["--threads", "4", "", " ", None]}, ["--threads", "4"], AFTER),
]
WITHOUT_FLAG: dict[str, Any] = {
    "emit_datasets": False,
    "conn_id": "warehouse",
    "db_name": "harbor",
    "schema": "dev",
    "cancel_query_on_kill": False,
    "cache_dir": "/cache",
    "copy_dbt_packages": True,
    "manifest_filepath": "/manifest.json",
    "callback": print,
    "callback_args": {"bucket": "b"},
    "should_store_compiled_sql": False,
    "should_upload_compiled_sql": True,
    "push_run_results_to_xcom": True,
    "push_node_rows": True,
    "output_encoding": "latin-1",
    "skip_exit_code": None,
    "append_env": False,
    "install_deps": "{{ params.deps }}",
}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Make(Protocol):
    """Make an operator by mode and name, such as ``("Local", "Run")``, on the small project."""

    def __call__(self, mode: str, name: str, **arguments: Any) -> Any: ...


@pytest.fixture
def make(dbt_project: Path) -> Make:
    def make(mode: str, name: str, **arguments: Any) -> Any:
        given: dict[str, Any] = {"macro_name": "grant"} if name == "RunOperation" else {}
        given |= {"py_requirements": ["dbt-duckdb"]} if mode == "Virtualenv" else {}
        return getattr(local if mode == "Local" else virtualenv, f"Dbt{name}{mode}Operator")(
            **operator_arguments(dbt_project, **given) | arguments
        )

    return make


OPERATORS = [
    (mode, name) for mode in ("Local", "Virtualenv") for name in COMMANDS if (mode, name) != ("Virtualenv", "Compile")
]


@pytest.mark.parametrize(("arguments", "flags", "place"), PLACES, ids=str)
def test_each_flag_has_its_place(make: Make, arguments: dict[str, Any], flags: list[str], place: str) -> None:
    words = make("Virtualenv", "Run", **arguments).build_cmd({})[0]

    # Own and last are told apart below, where a command has both.
    assert words == (["dbt", *flags, "run"] if place == BEFORE else ["dbt", "run", *flags])


def test_all_flags_together_are_in_order(make: Make) -> None:
    arguments = {
        name: value for each, flags, _ in PLACES if flags for name, value in each.items() if value not in ("", [], {})
    }
    arguments |= {"full_refresh": True, "log_format": "json"}

    assert shlex.join(make("Local", "Build", **arguments).build_cmd({})[0]) == (
        "dbt --log-level debug --no-partial-parse build --indirect-selection cautious --select 'tag:a b+' --exclude c "
        "--selector nightly --vars '{a: 2}' --models m --no-version-check --cache-selected-only --fail-fast --quiet "
        "--warn-error --full-refresh --log-format json --threads 4"
    )


@pytest.mark.parametrize(("mode", "name"), OPERATORS)
def test_what_is_no_flag_is_kept_and_changes_no_command_line(make: Make, mode: str, name: str) -> None:
    operator = make(mode, name, **WITHOUT_FLAG)

    assert {each: getattr(operator, each) for each in WITHOUT_FLAG} == WITHOUT_FLAG
    assert operator.build_cmd({})[0] == ["dbt", *COMMANDS[name]]


@pytest.mark.parametrize(
    ("name", "own"), [("Run", ["--empty"]), ("Source", ["--output", "x"]), ("RunOperation", ["--quiet"]), ("Test", [])]
)
def test_flags_of_one_command_reach_no_other(make: Make, name: str, own: list[str]) -> None:
    flags = {"run": ["--empty", ""], "source freshness": ("--output", "x"), "run-operation": ["--quiet"]}

    words = make("Local", name, dbt_cmd_flags=flags).build_cmd({})[0]

    assert words == ["dbt", *COMMANDS[name], *own]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("dbt_cmd_flags", ["--threads", True], "True is neither a text nor a path nor a number"),
        ("dbt_cmd_flags", {"run": [["--empty"]]}, r"dbt_cmd_flags\['run'\].*\['--empty'\] is neither a text"),
        ("dbt_cmd_global_flags", [b"--debug"], "dbt_cmd_global_flags=.*b'--debug' is neither a text"),
        ("dbt_cmd_global_flags", {"--debug"}, "dbt_cmd_global_flags=.* must be a list of texts"),
        ("dbt_cmd_flags", {"runn": ["--empty"]}, r"dbt_cmd_flags names the command 'runn'. It can be build, .* run, "),
        ("dbt_cmd_flags", {"source": ["-o"]}, "names the command 'source'. It can be build, .* source freshness"),
        ("dbt_cmd_flags", {"run": "--empty"}, r"dbt_cmd_flags\['run'\]='--empty' must be a list of texts"),
        ("dbt_cmd_flags", "--threads 4", "dbt_cmd_flags='--threads 4' must be a list of texts"),
        ("dbt_cmd_global_flags", "--debug", "dbt_cmd_global_flags='--debug' must be a list of texts"),
        (
            "run_params",
            {"select": "select"},
            "run_params=.* has no 'task_id'.*Give run_params to DbtDag or DbtTaskGroup",
        ),
        ("run_params", True, "run_params=True of an operator has no 'task_id'"),
        ("interceptors", print, "interceptors=.* must be a list of callables"),
        ("dbt_runner_callbacks", ["notify"], "dbt_runner_callbacks=.* must be a list of callables"),
        ("callback", "notify", "callback='notify' is neither a callable nor the import path of one"),
        ("callback", [3], "callback=3 is neither"),
        ("on_warning_callback", "notify", "on_warning_callback='notify' is neither"),
        ("invocation_mode", "warm", "invocation_mode='warm' is none of InvocationMode.SUBPROCESS"),
        ("compiled_sql", "select 1", "compiled_sql of DbtTestLocalOperator is written by the task"),
        ("freshness", "{}", "freshness of DbtTestLocalOperator is written by the task"),
        ("selct", "x", r"takes no argument 'selct'. Did you mean 'select' or 'selector'"),
        ("zzzz", "x", r"takes no argument 'zzzz'. Drop it, or correct its name"),
    ],
)
def test_what_cannot_be_is_refused_when_the_dag_is_built(make: Make, name: str, value: object, words: str) -> None:
    with pytest.raises(CosmosValueError, match=words):
        make("Local", "Test", **{name: value})


def test_callbacks_of_a_runner_need_a_dbt_in_the_worker(make: Make) -> None:
    assert make("Local", "Run", dbt_runner_callbacks=[print]).invocation_mode is InvocationMode.DBT_RUNNER
    with pytest.raises(CosmosValueError, match="invocation_mode is SUBPROCESS"):
        make("Virtualenv", "Run", dbt_runner_callbacks=[print])


def test_default_args_of_a_dag_reach_the_operator_unless_it_says_otherwise(make: Make) -> None:
    defaults = {"fail_fast": True, "indirect_selection": "eager", "retries": 4, "of_another_operator": 1}
    with DAG("harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), default_args=defaults):
        operators = [make(mode, "Run", task_id=mode, indirect_selection="cautious") for mode in ("Local", "Virtualenv")]

    for operator in operators:
        assert operator.retries == 4
        assert operator.build_cmd({})[0] == ["dbt", "run", "--indirect-selection", "cautious", "--fail-fast"]


@pytest.mark.parametrize("mode", ["Local", "Virtualenv"])
@pytest.mark.parametrize(
    ("name", "own"), [("Run", {"full_refresh": True}), ("RunOperation", {"macro_name": "grant", "args": {"a": 1}})]
)
def test_what_a_command_has_of_its_own_can_be_mapped(
    make: Make, dbt_project: Path, mode: str, name: str, own: dict[str, Any]
) -> None:
    like = make(mode, name)
    arguments = {"project_dir": dbt_project, "profile_config": like.profile_config}
    arguments |= {"py_requirements": ["dbt-duckdb"]} if mode == "Virtualenv" else {}
    with DAG("harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
        mapped = type(like).partial(task_id="mapped", **own, **arguments).expand(select=["a", "b"])

    unmapped = mapped.unmap({"select": "a"})

    assert {each: getattr(unmapped, each) for each in own} == own
    with pytest.raises(TypeError, match="selct"):
        type(like).partial(task_id="other", selct="a", **arguments)


def test_operators_share_nothing_that_an_interceptor_may_change(make: Make) -> None:
    shared: dict[str, Any] = {"env": {"A": "1"}, "dbt_cmd_flags": ["--empty"], "extra_context": {"x": 1}}
    one, other = make("Local", "Run", **shared), make("Local", "Run", task_id="other", **shared)

    one.env["B"] = "2"
    one.dbt_cmd_flags.append("--quiet")

    assert other.env == shared["env"] == {"A": "1"}
    assert other.dbt_cmd_flags == shared["dbt_cmd_flags"] == ["--empty"]


def test_interceptors_change_what_dbt_is_told(make_here: MakeTask, cosmos_fake_venv: FakeVenv) -> None:
    def interceptor(context: dict[str, Any], operator: Any) -> None:
        operator.vars = {"day": context["day"]}
        operator.env["DBT_DAY"] = context["day"]

    make_here("Run", interceptors=[interceptor], extra_context={"day": "Monday"}).execute({})

    (call,) = cosmos_fake_venv.calls
    assert call.arguments[:3] == ("run", "--vars", "day: Monday\n")
    assert call.env["DBT_DAY"] == "Monday"


@pytest.mark.parametrize("name", ["Build", "Source", "Test"])
def test_the_extra_context_is_merged_for_every_operator(make_here: MakeTask, name: str) -> None:
    context: dict[str, Any] = {}

    make_here(name, extra_context={"team": "harbor"}).execute(context)

    assert context["team"] == "harbor"


def test_the_manifest_is_there_when_dbt_begins_and_is_not_written_to(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, tmp_path: Path
) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text('{"it": "is mine"}')
    cosmos_fake_venv.script("run", artifacts={"manifest.json": None})
    seen: list[str] = []

    def look(project_dir: str, context: object) -> None:
        seen.append((Path(project_dir) / "target" / "manifest.json").read_text())

    make_here("Run", manifest_filepath=str(manifest), callback=look).execute({})

    assert seen == ['{"it": "is mine"}']
    assert manifest.read_text() == seen[0]


def test_a_manifest_that_is_not_there_is_named(make_here: MakeTask, cosmos_fake_venv: FakeVenv) -> None:
    with pytest.raises(AirflowException, match=r"manifest_filepath '/nowhere/manifest.json' cannot be read"):
        make_here("Run", manifest_filepath="/nowhere/manifest.json").execute({})

    assert not cosmos_fake_venv.calls


@pytest.mark.parametrize(("given", "setting", "is_link"), [(None, "", True), (None, "True", False), (True, "", False)])
def test_packages_are_copied_where_that_is_wanted(
    make_here: MakeTask,
    dbt_project: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: bool | None,
    setting: str,
    is_link: bool,
) -> None:
    (dbt_project / "dbt_packages" / "utils").mkdir(parents=True)
    (dbt_project / "dbt_packages" / "utils" / "dbt_project.yml").write_text("name: utils\n")
    (dbt_project / "package-lock.yml").write_text("sha1_hash: abc\n")
    if setting:
        monkeypatch.setenv("AIRFLOW__COSMOS__DEFAULT_COPY_DBT_PACKAGES", setting)
    seen: list[tuple[bool, bool]] = []

    def look(project_dir: str, context: object) -> None:
        place = Path(project_dir)
        assert (place / "dbt_packages" / "utils" / "dbt_project.yml").read_text() == "name: utils\n"
        seen.append(((place / "dbt_packages").is_symlink(), (place / "package-lock.yml").exists()))

    make_here("Run", install_deps=False, copy_dbt_packages=given, callback=look).execute({})

    assert seen == [(is_link, not is_link)]


@pytest.mark.long
@pytest.mark.parametrize(("cancels", "expected"), [(True, "SIGINT"), (False, "SIGTERM")])
def test_a_kill_begins_with_the_signal_that_was_asked_for(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, cancels: bool, expected: str
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    cosmos_fake_venv.script("run", hold=True, ignore_signals=[signal.SIGINT, signal.SIGTERM])
    operator = make_here("Run", cancel_query_on_kill=cancels)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(operator.execute, {})
        cosmos_fake_venv.wait_for_call("run", held=True)

        operator.on_kill()

        with pytest.raises(AirflowException, match="was killed"):
            running.result(timeout=20)
    assert cosmos_fake_venv.calls[0].signals[0] == expected


@pytest.mark.parametrize("starts", ["execute", "run_command"])
def test_a_kill_reaches_dbt_however_it_was_started(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, starts: str
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    cosmos_fake_venv.script("run", hold=True)
    operator = make_here("Run")
    arguments = [{}] if starts == "execute" else [*operator.build_cmd({}), {}]
    with ThreadPoolExecutor() as pool:
        running = pool.submit(getattr(operator, starts), *arguments)
        cosmos_fake_venv.wait_for_call("run", held=True)
        try:
            operator.on_kill()

            with pytest.raises((AirflowException, CommandKilled), match=r"was killed|told to end"):
                running.result(timeout=20)
        finally:
            cosmos_fake_venv.release()


def test_the_environment_of_dbt(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_WORKER", "yes")

    make_here("Run", append_env=False, env={"PATH": os.environ["PATH"], "A": "é", "NUMBER": 3, 4: "four"}).execute({})
    make_here("Run", env={"A": "1"}).execute({})

    bare, appended = (call.env for call in cosmos_fake_venv.calls)
    assert bare["A"] == "é"
    assert not {"OF_THE_WORKER", "NUMBER", "4"} & set(bare)
    assert (appended["A"], appended["OF_THE_WORKER"]) == ("1", "yes")


@pytest.mark.parametrize(
    ("deps", "expected"), [(" False ", ["run"]), ("true", ["deps", "run"]), (False, ["run"]), (True, ["deps", "run"])]
)
def test_dependencies_are_installed_where_a_template_says_so(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, dbt_project: Path, deps: object, expected: list[str]
) -> None:
    (dbt_project / "packages.yml").write_text("packages: [{package: dbt-labs/dbt_utils, version: 1.3.0}]\n")
    operator = make_here("Run", install_deps="{{ params.deps }}")
    operator.render_template_fields({"params": {"deps": deps}})

    operator.execute({})

    assert [call.command for call in cosmos_fake_venv.calls] == expected


def test_a_task_of_airflow_renders_and_runs_it(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow
) -> None:
    params = {"seed": "piers", "full": 1}
    operator = make_here("Seed", select="{{ params.seed }}", full_refresh="{{ params.full }}", params=params)

    outcome = cosmos_airflow.run(operator)

    assert outcome.state == "success"
    (call,) = cosmos_fake_venv.calls
    assert call.arguments[:4] == ("seed", "--select", "piers", "--full-refresh")
    assert call.env["AIRFLOW_CTX_TASK_ID"] == "task"


def test_the_table_has_the_parameters_of_all_operators() -> None:
    modules = (airflow_async, domain_ready, local, run_summary, virtualenv, watcher)
    found = {each for module in modules for each in vars(module).values() if isinstance(each, type)}
    taken = set[str]().union(*(parameters(each) for each in found if issubclass(each, BaseOperator)))

    assert taken - parameters(DbtLocalBaseOperator) == OF_SOME_OPERATORS


def test_each_argument_of_other_operators_is_ignored_with_one_warning_a_dag(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    common = {"full_refresh": True, "py_requirements": ["dbt-duckdb"], "virtualenv_dir": "/environments"}
    for dag_id in ("harbor_shares", "tides_shares"):
        with DAG(dag_id, schedule=None):
            for task_id, name in (("run", "Run"), ("test", "Test"), ("snapshot", "Snapshot")):
                make("Local", name, **{**common, "task_id": task_id})

    found = [each for each in dict.fromkeys(caplog.messages) if "ignores" in each]
    assert [each.partition(" gets ")[0] for each in found] == [
        f"{ignored}, which other dbt operators take. The DAG {dag_id}"
        for dag_id in ("harbor_shares", "tides_shares")
        for ignored in (
            "DbtRunLocalOperator ignores py_requirements, virtualenv_dir",
            "DbtTestLocalOperator ignores full_refresh",
        )
    ]
    with pytest.raises(CosmosValueError, match="DbtTestLocalOperator takes no argument 'full_refrsh'"):
        make("Local", "Test", full_refrsh=True)


class OfAUser(virtualenv.DbtRunVirtualenvOperator):
    """Has attributes of the names of parameters, and hands one on."""

    env: dict[str, Any] = {}  # noqa: RUF012 - such a class is what the test is about
    py_executable = "/usr/bin/python3.12"

    def __init__(self, **arguments: Any) -> None:
        super().__init__(py_executable=self.py_executable, **arguments)


@pytest.mark.parametrize("cls", [virtualenv.DbtRunVirtualenvOperator, OfAUser])
def test_each_task_has_its_own_empty_dicts_and_lists(cls: Any, dbt_project: Path) -> None:
    one, another = (cls(**operator_arguments(dbt_project)) for _ in range(2))

    one.env["TOKEN"] = "of one task"
    one.interceptors.append(print)

    assert (one.env, one.interceptors) == ({"TOKEN": "of one task"}, [print])
    assert (another.env, another.interceptors) == ({}, [])


def test_the_environment_is_what_a_class_of_a_user_hands_on(dbt_project: Path) -> None:
    """The value is an attribute of the class too, and the environment was made of another Python."""
    task = OfAUser(**operator_arguments(dbt_project))

    assert VirtualenvArguments.of(vars(task)).py_executable == "/usr/bin/python3.12"
