"""The state that dbt compares with and defers to: a folder, object storage, the last success of the task itself."""

from __future__ import annotations

import json
import multiprocessing
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.config import ProfileConfig
from cosmos_venv.constants import LAST_SUCCESS
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.local import DbtRunLocalOperator
from cosmos_venv.operators.run import state
from pytest_cosmos_venv import CosmosAirflow, DbtCall, FakeVenv
from tests.kit import MakeTask

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def kept_place(operator: Any, context: dict[str, Any]) -> Any:
    """The place of the last success of the operator's task."""
    return state.kept_place(operator._dbt_run(["dbt"], {}, context).task_key)


class Looking(DbtRunLocalOperator):
    """dbt run that sees what dbt is shown as the state."""

    seen: list[dict[str, Any]]

    def run_subprocess(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> Any:
        folder = Path(command[command.index("--state") + 1])
        self.seen.append({path.name: json.loads(path.read_text()) for path in folder.iterdir()})
        return super().run_subprocess(command, env, cwd, **kwargs)


@pytest.fixture
def make(make_here: MakeTask, cosmos_airflow: CosmosAirflow, own_cache: Path) -> MakeTask:
    assert not cosmos_airflow.variables.values

    def make(of: Any = "Run", **arguments: Any) -> Any:
        operator = make_here(of, **arguments)
        if isinstance(operator, Looking):
            vars(operator)["seen"] = []
        return operator

    return make


@pytest.fixture
def prod(tmp_path: Path) -> Path:
    """The artifacts of another run."""
    folder = tmp_path / "prod"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"of": "prod"}')
    (folder / "run_results.json").write_text('{"results": []}')
    (folder / "index.html").write_text("of no use")
    return folder


def flags(call: DbtCall) -> list[str]:
    """The last words of a command line: after those of its place."""
    words = list(call.arguments)
    return words[words.index("--target") + 2 :]


def test_a_folder_is_named_to_dbt_as_it_is(make: MakeTask, cosmos_fake_venv: FakeVenv, prod: Path) -> None:
    make(state=prod, defer_to_state=True, favor_state="true").execute({})
    make().execute({})

    first, second = cosmos_fake_venv.calls
    assert flags(first) == ["--state", str(prod), "--defer", "--favor-state"]
    assert flags(second) == []


def test_a_relative_folder_is_one_of_the_project(
    make: MakeTask, cosmos_fake_venv: FakeVenv, dbt_project: Path, prod: Path
) -> None:
    """It may be in the project's target folder, which dbt is not shown."""
    (dbt_project / "target").mkdir()
    prod.rename(dbt_project / "target" / "prod")

    make(state="target/prod").execute({})

    assert flags(cosmos_fake_venv.calls[0]) == ["--state", str(dbt_project / "target" / "prod")]


@pytest.mark.parametrize("is_packed", [False, True], ids=["folder", "packed"])
def test_artifacts_of_an_object_store_are_fetched(
    make: MakeTask, prod: Path, memory_store: Callable[[Path], str], is_packed: bool
) -> None:
    if is_packed:
        with zipfile.ZipFile(prod / "all.zip", "w") as archive:
            archive.write(prod / "manifest.json", "manifest.json")
            archive.write(prod / "index.html", "../index.html")
    url = memory_store(prod)
    operator = make(Looking, state=f"{url}/all.zip" if is_packed else url)

    operator.execute({})

    others: dict[str, Any] = {} if is_packed else {"run_results.json": {"results": []}}
    assert operator.seen == [{"manifest.json": {"of": "prod"}, **others}]


@pytest.fixture
def memory_store() -> Any:
    """Puts the files of a folder into an object store of Airflow's, and gives the URL."""
    try:
        storage = import_module("airflow.sdk.io")
    except ImportError:  # Airflow 2
        storage = import_module("airflow.io.store")
    store = import_module("fsspec.implementations.memory").MemoryFileSystem()
    storage.attach("memory", fs=store)

    def put(folder: Path) -> str:
        for path in folder.iterdir():
            store.pipe(f"/prod/{path.name}", path.read_bytes())
        return "memory://prod"

    yield put
    store.store.clear()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("nowhere", r"state='nowhere': there is no manifest.json at .*/harbor/nowhere\. .* or 'last_success'"),
        ("memory://nowhere", r"state='memory://nowhere': there is no manifest.json at memory://nowhere"),
        ("nosuch://bucket/x", r"state='nosuch://bucket/x' cannot be read: .*install the Airflow provider"),
        ("file:///nowhere.zip", r"there is no manifest.json at /nowhere\.zip"),
    ],
)
def test_a_state_that_is_not_there_is_told_before_dbt_runs(
    make: MakeTask, cosmos_fake_venv: FakeVenv, memory_store: object, state: str, words: str
) -> None:
    with pytest.raises(AirflowException, match=words):
        make(state=state).execute({})

    assert cosmos_fake_venv.calls == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"state": " "}, "state=' ' is empty"),
        ({"state": "folder", "state_conn_id": "c"}, "state_conn_id='c' is for a URL of object storage"),
        ({"state": LAST_SUCCESS, "state_conn_id": "c"}, "state_path_conn_id"),
    ],
)
def test_what_cannot_be_is_refused_when_the_dag_is_built(make: MakeTask, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(CosmosValueError, match=words):
        make(**arguments)


def test_the_first_time_everything_is_new_and_then_the_last_success_is_the_state(make: MakeTask) -> None:
    operator = make(Looking, state=LAST_SUCCESS)

    operator.execute({})
    operator.execute({})

    first, second = operator.seen
    assert first["manifest.json"]["nodes"] == {}
    assert "model.harbor.mart" in second["manifest.json"]["nodes"]
    assert [each["status"] for each in second["run_results.json"]["results"]] == ["success", "success"]


def test_a_failure_leaves_the_last_success_as_it_was(make: MakeTask, cosmos_fake_venv: FakeVenv) -> None:
    """Whether dbt fails, or a callback after it: the task has not succeeded."""

    def break_down(project_dir: str, **_: object) -> None:
        raise LookupError("the pier is closed")

    operator = make(Looking, state=LAST_SUCCESS)
    operator.execute({})
    before = kept_place(operator, {}).read_bytes()

    with pytest.raises(LookupError):
        make(Looking, state=LAST_SUCCESS, callback=break_down).execute({})
    cosmos_fake_venv.script("run", nodes={"mart": "error"})
    with pytest.raises(AirflowException):
        operator.execute({})

    assert kept_place(operator, {}).read_bytes() == before


def test_tasks_and_targets_have_a_last_success_each(make: MakeTask, dbt_project: Path) -> None:
    prod = ProfileConfig("harbor", "prod/eu", profiles_yml_filepath=dbt_project / "profiles.yml")
    operators = [make(state=LAST_SUCCESS), make(task_id="pier.task"), make(profile_config=prod)]

    places = {kept_place(operator, {}) for operator in operators}

    assert len(places) == 3
    assert {place.parents[1].name for place in places} == {operators[0].dag_id}
    assert {place.name for place in places} == {"dev.zip", "prod%2Feu.zip"}


def test_workers_share_it_where_a_setting_leads(
    make: MakeTask, tmp_path: Path, memory_store: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {"folder": f"{tmp_path}/shared", "file": f"file://{tmp_path}/shared", "store": "memory://shared"}
    for task_id, state_path in paths.items():
        monkeypatch.setenv("AIRFLOW__COSMOS_VENV__STATE_PATH", state_path)
        operator = make(Looking, state=LAST_SUCCESS, task_id=task_id)
        operator.execute({})
        operator.execute({})

        assert "model.harbor.mart" in operator.seen[-1]["manifest.json"]["nodes"]
    assert not (tmp_path / "cache" / "last-success-v1").exists()


def test_to_a_worker_without_the_last_success_everything_is_new(
    make: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B has built X, A has built Y, the code goes back to X: the warehouse has Y, which B must not take for X."""
    operator = make(Looking, state=LAST_SUCCESS)
    for worker in ("b", "a", "b", "b"):
        monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / worker))
        operator.execute({})

    assert ["model.harbor.mart" in each["manifest.json"]["nodes"] for each in operator.seen] == [
        False,
        False,
        False,
        True,
    ]


def test_a_success_that_no_worker_hears_of_is_none(make: MakeTask, cosmos_airflow: CosmosAirflow) -> None:
    operator = make(state=LAST_SUCCESS)

    with (
        cosmos_airflow.variables.outage(reads=False),
        pytest.raises(AirflowException, match=r"Variable cosmos_venv_last_success__\w+ cannot be written"),
    ):
        operator.execute({})

    operator.execute({})


def test_to_a_task_whose_last_success_could_not_be_kept_everything_is_new(
    make: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It has an older one, which is in the way of nobody."""
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__STATE_PATH", str(tmp_path / "shared"))
    operator = make(Looking, state=LAST_SUCCESS)
    operator.execute({})
    kept = kept_place(operator, {})

    def stand_in_the_way(project_dir: str, **_: object) -> None:
        kept.parent.rename(tmp_path / "older")
        kept.parent.write_text("a file in place of the folder")

    make(state=LAST_SUCCESS, callback=stand_in_the_way).execute({})
    assert "This success is not kept for the next run: " in "".join(capfd.readouterr())
    kept.parent.unlink()
    (tmp_path / "older").rename(kept.parent)
    operator.execute({})

    assert operator.seen[-1]["manifest.json"]["nodes"] == {}


def test_half_a_file_is_as_good_as_none(make: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__STATE_PATH", str(tmp_path / "shared"))
    operator = make(Looking, state=LAST_SUCCESS)
    operator.execute({})
    kept = kept_place(operator, {})
    kept.write_bytes(kept.read_bytes()[:100])

    operator.execute({})

    assert operator.seen[-1]["manifest.json"]["nodes"] == {}


def test_after_a_success_without_a_manifest_no_older_one_is_the_last(
    make: MakeTask,
    tmp_path: Path,
    cosmos_fake_venv: FakeVenv,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__STATE_PATH", str(tmp_path / "shared"))
    operator = make(Looking, state=LAST_SUCCESS)
    operator.execute({})
    cosmos_fake_venv.script("run", artifacts={"manifest.json": None})
    operator.execute({})
    operator.execute({})

    assert [len(each["manifest.json"]["nodes"]) > 0 for each in operator.seen] == [False, True, False]
    assert "this success is not kept for the next run" in "".join(capfd.readouterr())


def test_whether_to_defer_may_be_a_template(
    make: MakeTask, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow, prod: Path
) -> None:
    given = dict.fromkeys(("defer_to_state", "favor_state"), "{{ params.is_wanted }}")

    assert cosmos_airflow.run(make(state=str(prod), params={"is_wanted": True}, **given)).state == "success"
    assert flags(cosmos_fake_venv.calls[0]) == ["--state", str(prod), "--defer", "--favor-state"]


def _publish_again_and_again(kept: Path, content: bytes, rounds: int) -> None:

    for _ in range(rounds):
        state._publish(kept, content)


@pytest.mark.long
def test_a_reader_finds_one_success_or_another_and_never_a_mixture(make: MakeTask, tmp_path: Path) -> None:
    """Runs of one DAG may overlap: each publishes while others read."""
    kept = kept_place(make(state=LAST_SUCCESS), {})
    contents = [bytes([number]) * 200_000 for number in range(3)]
    _publish_again_and_again(kept, contents[0], 1)
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_publish_again_and_again, args=(kept, content, 100)) for content in contents]
    for writer in writers:
        writer.start()

    found = {kept.read_bytes()}
    while any(writer.is_alive() for writer in writers):
        found.add(kept.read_bytes())
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert found <= set(contents)
    assert list(kept.parent.iterdir()) == [kept]


def test_what_others_could_have_written_is_not_believed(
    make: MakeTask, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    operator = make(Looking, state=LAST_SUCCESS)
    operator.execute({})
    kept = kept_place(operator, {})
    with zipfile.ZipFile(kept, "w") as archive:
        archive.writestr("manifest.json", '{"nodes": {"model.harbor.mart": {}}}')
    (tmp_path / "cache" / "last-success-v1").chmod(0o777)

    operator.execute({})

    assert operator.seen[-1]["manifest.json"]["nodes"] == {}
    assert "This success is not kept for the next run: PermissionError" in "".join(capfd.readouterr())
