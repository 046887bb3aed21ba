"""Facts of a dbt run that its task keeps and tells: rendered fields, XComs, uploads, callbacks, and why dbt failed."""

from __future__ import annotations

import base64
import json
import zlib
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.compat import AirflowException, AirflowSkipException
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators import local
from pytest_cosmos_venv import CosmosAirflow, FakeVenv, NodeOutcome
from tests.kit import MakeTask, texts_below

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CALLED: list[dict[str, Any]] = []


def note(project_dir: str, **kwargs: Any) -> None:
    """A callback that is named by its import path."""
    CALLED.append({"project_dir": project_dir, **kwargs})


def break_down(project_dir: str, **kwargs: Any) -> None:
    raise LookupError("the pier is closed")


@pytest.fixture
def make(make_here: MakeTask, dbt_project: Path) -> MakeTask:
    """A local operator by name, such as ``Run``, whose dbt is the fake."""
    CALLED.clear()
    (dbt_project / "models" / "schema.yml").write_text(
        "models: [{name: staging, columns: [{name: id, tests: [unique]}]}]\n"
        "sources: [{name: raw, tables: [{name: ships, loaded_at_field: at,"
        " freshness: {warn_after: {count: 1, period: day}}}]}]\n"
    )
    return make_here


def write_compiled_sql(project_dir: str, **kwargs: Any) -> None:
    """Write the compiled SQL, which the fake does not."""
    folder = Path(project_dir, "target", "compiled", "harbor")
    folder.mkdir(parents=True)
    (folder / "mart.sql").write_text("select 1\n")


class WritingRun(local.DbtRunLocalOperator):
    """dbt run, as if the fake compiled SQL."""

    def run_subprocess(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> Any:
        result = super().run_subprocess(command, env, cwd, **kwargs)
        write_compiled_sql(cwd)
        return result


class WritingCompile(WritingRun, local.DbtCompileLocalOperator):
    """dbt compile, likewise."""

    base_cmd = ["compile"]  # noqa: RUF012


class WritingBatch(WritingRun, local.DbtBatchLocalOperator):
    """A batch, likewise."""

    base_cmd = ["build"]  # noqa: RUF012


def test_compiled_sql_is_shown_among_the_rendered_fields(make_here: MakeTask, cosmos_airflow: CosmosAirflow) -> None:
    outcome = cosmos_airflow.run(make_here(WritingRun))

    assert outcome.state == "success"
    assert rendered_fields() == ("-- compiled/harbor/mart.sql\nselect 1", "")


@pytest.mark.parametrize("has_failed", [False, True])
def test_compiled_sql_of_a_batch_is_shown_too(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow, has_failed: bool
) -> None:
    cosmos_fake_venv.script("build", nodes={"mart": "error" if has_failed else "success"})

    outcome = cosmos_airflow.run(make_here(WritingBatch, nodes={"model.harbor.mart": "fqn:harbor.mart"}))

    assert outcome.state == ("failed" if has_failed else "success")
    assert rendered_fields() == ("-- compiled/harbor/mart.sql\nselect 1", "")


def test_freshness_is_shown(make: MakeTask, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow) -> None:
    cosmos_fake_venv.script("source freshness", nodes={"source.harbor.raw.ships": "pass"})

    outcome = cosmos_airflow.run(make("Source"))

    assert outcome.state == "success"
    sql, freshness = rendered_fields()
    assert sql == ""
    assert json.loads(freshness)["results"][0]["unique_id"] == "source.harbor.raw.ships"


def rendered_fields() -> tuple[Any, Any]:
    """The last row of Airflow's table."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = session.query(RenderedTaskInstanceFields).all()
    # Airflow 3.4 has an id in the order of time in place of the run.
    fields = max(rows, key=lambda row: row.id if hasattr(row, "id") else row.run_id).rendered_fields
    return fields["compiled_sql"], fields["freshness"]


def test_run_results_are_pushed_only_when_they_are_asked_for(make: MakeTask, cosmos_airflow: CosmosAirflow) -> None:
    assert "run_results" not in cosmos_airflow.run(make("Run")).xcoms
    pushed = cosmos_airflow.run(make("Run", push_run_results_to_xcom=True)).xcoms["run_results"]

    results = json.loads(zlib.decompress(base64.b64decode(pushed)))["results"]
    assert [each["unique_id"] for each in results] == ["model.harbor.staging", "model.harbor.mart"]


@pytest.mark.parametrize("exit_code", [0, 1])
def test_callbacks_are_called_in_their_order_after_success_and_failure(
    make: MakeTask, cosmos_fake_venv: FakeVenv, exit_code: int
) -> None:
    if exit_code:
        cosmos_fake_venv.script("run", exit_code=exit_code)
    seen: list[bool] = []

    def look(project_dir: str, **kwargs: Any) -> None:
        assert not CALLED
        seen.append((Path(project_dir) / "target" / "run_results.json").exists())

    operator = make("Run", callback=[look, f"{__name__}.note"], callback_args={"bucket": "b"})
    with pytest.raises(AirflowException, match="exit code 1") if exit_code else nullcontext():
        operator.execute({"ds": "2026-01-01"})

    (called,) = CALLED
    assert seen == [True]
    assert called["bucket"] == "b"
    assert called["context"]["ds"] == "2026-01-01"
    assert called["project_dir"] == cosmos_fake_venv.calls[0].arguments[2]


def test_an_error_in_a_callback_hides_nothing_and_stops_no_other_one(
    make: MakeTask, cosmos_fake_venv: FakeVenv, capfd: pytest.CaptureFixture[str]
) -> None:
    cosmos_fake_venv.script("run", nodes={"mart": "error"})

    with pytest.raises(AirflowException, match=r"(?s)exit code 1.*model\.harbor\.mart: error"):
        make("Run", callback=[break_down, "of_nobody.notify", note]).execute({})

    said = "".join(capfd.readouterr())
    assert "After dbt had failed: LookupError: the pier is closed" in said
    assert "callback='of_nobody.notify' cannot be imported" in said
    assert len(CALLED) == 1


def test_a_skipped_task_calls_its_callbacks_too(make: MakeTask, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("run", exit_code=2)

    with pytest.raises(AirflowSkipException, match="exit code 2"):
        make("Run", skip_exit_code=2, callback=note).execute({})

    assert len(CALLED) == 1


def test_a_test_that_warns_is_told_with_its_message(make: MakeTask, cosmos_fake_venv: FakeVenv) -> None:
    warned = {"test.harbor.unique_staging_id.1a2b": NodeOutcome(status="warn", failures=3)}
    cosmos_fake_venv.script("test", nodes=warned)
    told: list[dict[str, Any]] = []

    make("Test", on_warning_callback=told.append).execute({"ds": "2026-01-01"})

    (context,) = told
    assert context["ds"] == "2026-01-01"
    assert context["test_names"] == ["unique_staging_id"]
    assert "3 results" in context["test_results"][0]


def test_without_artifacts_no_warning_is_known_and_the_log_says_so(
    make: MakeTask, cosmos_fake_venv: FakeVenv, capfd: pytest.CaptureFixture[str]
) -> None:
    cosmos_fake_venv.script(
        "test", stdout=["18:05:01  Warning in test not_null_id"], artifacts={"run_results.json": None}
    )
    told: list[dict[str, Any]] = []

    make("Test", on_warning_callback=told.append).execute({})

    assert told == []
    assert "Drop --no-write-json" in "".join(capfd.readouterr())


def test_after_a_failed_dbt_nobody_is_told_of_warnings(make: MakeTask, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("test", exit_code=1)
    told: list[dict[str, Any]] = []

    with pytest.raises(AirflowException):
        make("Test", on_warning_callback=told.append).execute({})

    assert told == []


def test_the_address_of_a_package_is_told_without_its_token(
    make: MakeTask, cosmos_fake_venv: FakeVenv, dbt_project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (dbt_project / "packages.yml").write_text("packages: [{git: 'https://s3cret@host/a.git', revision: main}]\n")
    said = "Error checking out spec='main' for repo https://s3cret@host/a.git and https://host/a?token=s3cret"
    cosmos_fake_venv.script("deps", exit_code=2, stdout=[said])

    with caplog.at_level("INFO"), pytest.raises(AirflowException, match=r"https://\*\*\*\*@host/a\.git") as raised:
        make("Run").execute({})

    assert "s3cret" not in str(raised.value)
    assert "s3cret" not in caplog.text


@pytest.fixture
def context() -> dict[str, Any]:
    task = SimpleNamespace(task_group=SimpleNamespace(group_id="pier"))
    ti = SimpleNamespace(task=task, task_id="pier.run", try_number=2)
    return {"dag": SimpleNamespace(dag_id="harbor"), "run_id": "run-1", "ti": ti}


@pytest.mark.parametrize(
    ("cls", "wanted", "expected"),
    [
        (WritingRun, None, False),
        (WritingRun, True, True),
        (WritingBatch, True, True),
        (WritingCompile, None, True),
    ],
)
def test_compiled_sql_is_uploaded_where_that_is_wanted(
    make_here: MakeTask,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cls: type[WritingRun],
    wanted: bool | None,
    expected: bool,
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_TARGET_PATH", f"file://{tmp_path}/remote")
    of_batch = {"nodes": {"model.harbor.mart": "fqn:harbor.mart"}} if cls is WritingBatch else {}
    operator = make_here(cls, should_upload_compiled_sql=wanted, **of_batch)
    monkeypatch.setattr(operator, "get_env", lambda _: {})  # this context is none of Airflow's

    operator.execute(context)

    path = "harbor__pier/run-1/compiled/harbor/mart.sql"
    assert texts_below(tmp_path / "remote") == ({path: "select 1\n"} if expected else {})


def test_uploading_without_a_place_is_an_error_before_dbt_runs_but_not_for_compile_itself(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv
) -> None:
    make_here(WritingCompile).execute({})

    with pytest.raises(AirflowException, match=r"\[cosmos\] remote_target_path is not set"):
        make_here(WritingRun, should_upload_compiled_sql=True).execute({})

    assert [call.command for call in cosmos_fake_venv.calls] == ["compile"]


def test_an_upload_callback_goes_wherever_object_storage_leads(
    context: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from cosmos_venv import io

    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "manifest.json").write_text("{}")
    with pytest.raises(CosmosValueError, match="remote_target_path is not set"):
        io.upload_to_cloud_storage(str(tmp_path), context=context)
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_TARGET_PATH", f"file://{tmp_path}/remote")

    io.upload_to_cloud_storage(str(tmp_path), context=context)

    assert texts_below(tmp_path / "remote") == {"harbor/run-1/pier.run/2/target/manifest.json": "{}"}


def test_a_provider_that_is_not_installed_is_named(context: dict[str, Any], tmp_path: Path) -> None:
    from cosmos_venv import io

    with pytest.raises(AirflowException, match=r"S3Hook is needed.*Install apache-airflow-providers-amazon"):
        io.upload_to_aws_s3(str(tmp_path), bucket_name="b", context=context)
