"""LoadMode.DBT_LS_CACHE takes only a kept answer of dbt ls; Variables ask anew; other machines find it too."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from pathlib import Path

import pytest

from cosmos_venv import compat
from cosmos_venv.constants import LoadMode
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.ls_cache import VariableAnswers
from pytest_cosmos_venv import CosmosAirflow
from tests.project.ls_place import DATA, NODES, Place, writing


def test_the_cache_mode_takes_what_dbt_has_said(place: Place) -> None:
    first = place.load()

    made = place.load(load_method=LoadMode.DBT_LS_CACHE)

    assert made.nodes == first.nodes
    assert made.load_method is LoadMode.DBT_LS_CACHE
    assert place.calls == 1


def test_the_cache_mode_starts_no_dbt_and_is_no_empty_dag(place: Place) -> None:
    with pytest.raises(
        CosmosLoadDbtException, match=r"no answer of dbt ls for .* is kept .*Load it once with LoadMode"
    ):
        place.load(load_method=LoadMode.DBT_LS_CACHE)

    assert place.calls == 0


def test_the_cache_mode_says_that_nothing_is_ever_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__ENABLE_CACHE", "False")

    with pytest.raises(CosmosLoadDbtException, match=r"is kept because .+enable_cache or enable_cache_dbt_ls is off"):
        place.load(load_method=LoadMode.DBT_LS_CACHE)


def test_a_variable_of_airflow_asks_anew(place: Place, cosmos_airflow: CosmosAirflow) -> None:
    for value in ("1", "1", "2"):
        cosmos_airflow.variables.put("release", value)
        place.load(airflow_vars_to_purge_dbt_ls_cache=["release", "unset"])
    place.load(airflow_vars_to_purge_dbt_ls_cache=["unset"])

    assert place.calls == 3


@pytest.mark.parametrize("variable", ["DBT_STATE", "DBT_ENGINE_STATE"])
@pytest.mark.parametrize("is_absolute", [True, False])
def test_other_artifacts_to_compare_with_ask_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch, variable: str, is_absolute: bool
) -> None:
    monkeypatch.setenv(variable, str(place.project / "state") if is_absolute else "state")
    for content in ("{}", "{}", '{"nodes": {}}'):
        place.write("state/manifest.json", content)
        place.load(select=["state:new"], allow_empty_selection=True)

    assert place.calls == 4  # the selection and the manifest, twice


@pytest.mark.parametrize("name", ["seeds/raw_ports.csv", "target/sources.json"])
def test_what_is_compared_with_another_run_asks_anew(place: Place, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("DBT_STATE", "state")
    place.write("state/manifest.json", "{}")
    for content in ("1", "1", "22"):
        place.write(name, content)
        place.load(select=["state:modified"], allow_empty_selection=True)

    assert place.calls == 4  # the selection and the manifest, twice


class Elsewhere:
    """Two machines, of which each has a cache of its own, and one place for both."""

    def __init__(self, place: Place, folder: Path, env: pytest.MonkeyPatch) -> None:
        self.shared = folder / "shared"
        self._place, self._folder, self._env = place, folder, env
        env.setenv("AIRFLOW__COSMOS__REMOTE_CACHE_DIR", f"file://{self.shared}")

    def go_to(self, machine: str) -> None:
        self._env.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(self._folder / machine))

    @property
    def kept(self) -> list[Path]:
        return sorted((self.shared / "dbt-ls-v1").iterdir())


@pytest.fixture
def elsewhere(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    return Elsewhere(place, tmp_path, monkeypatch)


@pytest.mark.parametrize("method", [LoadMode.DBT_LS, LoadMode.DBT_LS_CACHE])
def test_what_another_machine_was_told_is_taken_and_kept(place: Place, elsewhere: Elsewhere, method: LoadMode) -> None:
    elsewhere.go_to("north")
    first = place.load()
    elsewhere.go_to("south")
    second = place.load(load_method=method)
    shutil.rmtree(elsewhere.shared)
    third = place.load(load_method=LoadMode.DBT_LS_CACHE)

    assert place.calls == 1
    assert first.nodes == second.nodes == third.nodes
    assert second.load_method is LoadMode.DBT_LS_CACHE


def test_with_a_key_an_answer_that_no_machine_has_signed_decides_nothing(
    place: Place, elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    elsewhere.go_to("north")  # has no key
    place.load()
    (tmp_path / "key").write_text("the key of all machines")
    (tmp_path / "key").chmod(0o600)
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE", str(tmp_path / "key"))

    elsewhere.go_to("south")
    place.load()
    calls_of_both = place.calls
    elsewhere.go_to("west")
    place.load()

    assert "it is not signed with the key of this deployment" in log.text
    assert (calls_of_both, place.calls) == (2, 2), "what south has signed is taken"


def test_machines_share_an_answer_by_a_variable(
    place: Place, tmp_path: Path, cosmos_airflow: CosmosAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = cosmos_airflow.variables  # from here on there are Variables
    for machine in ("north", "south", "west"):
        monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / machine))
        assert len(place.load(select=["raw_ports"]).nodes) == NODES

    assert place.calls == 1
    place.write("models/more.sql", "select 1")
    place.load()
    assert place.calls == 2


def test_what_could_not_be_shared_is_shared_at_the_next_parse(
    place: Place, tmp_path: Path, cosmos_airflow: CosmosAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = cosmos_airflow.variables
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "north"))
    with monkeypatch.context() as patch:
        patch.setattr(compat, "set_variable", _refuse)
        place.load()
    place.load()

    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "south"))
    place.load()

    assert place.calls == 1


def _refuse(*_: str) -> None:
    raise ConnectionError("no API server")


def test_a_variable_keeps_the_latest_answer_alone(cosmos_airflow: CosmosAirflow) -> None:
    _ = cosmos_airflow.variables
    answers = VariableAnswers(question="1")
    for state in ("first", "second"):
        answers.write(f"{state}.answer", state.encode(), seconds=1.0)

    kept = json.loads(cosmos_airflow.variables.values[answers.name])

    assert sorted(kept) == ["second.answer"]


def test_an_answer_that_is_too_long_for_a_variable_is_not_shared_and_the_log_says_so(
    place: Place,
    tmp_path: Path,
    cosmos_airflow: CosmosAirflow,
    monkeypatch: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
) -> None:
    _ = cosmos_airflow.variables
    manifest = json.loads((DATA / "manifest.json").read_text())
    manifest["nodes"]["seed.harbor_ops.raw_ports"]["description"] = secrets.token_hex(1 << 20)
    (tmp_path / "large.json").write_text(json.dumps(manifest))
    place.let_dbt(writing(tmp_path / "large.json"))
    for machine in ("north", "south"):
        monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / machine))
        place.load()

    assert place.calls == 2
    assert re.search(r"the Airflow Variable \S+ is not written: the answer has 1,\d+,\d+ bytes, .*1,048,576", log.text)


def test_a_process_without_variables_says_so_in_plain_words(place: Place, log: pytest.LogCaptureFixture) -> None:
    """Airflow 3 gives its connection only to its DAG processor and to its tasks."""
    place.load()

    said = [record.getMessage() for record in log.records if "share_answers_in_variables" in record.getMessage()]
    assert len(set(said)) == 1
    assert said[0].endswith(" is not used: a DAG file that is run by hand has no Variables.")


def test_a_storage_that_does_not_answer_leaves_the_parse_half_of_its_time(
    place: Place, elsewhere: Elsewhere, log: pytest.LogCaptureFixture
) -> None:
    elsewhere.go_to("north")
    place.load()
    (answer,) = elsewhere.kept
    answer.unlink()
    os.mkfifo(answer)
    elsewhere.go_to("south")

    with pytest.raises(CosmosLoadDbtException, match="no answer of dbt ls for"):
        place.load(load_method=LoadMode.DBT_LS_CACHE, seconds=4)
    os.close(os.open(answer, os.O_RDWR | os.O_NONBLOCK))

    assert "there was no answer within 2 s" in log.text


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (
            "s3://ana:word@bucket/cosmos",
            r"remote_cache_dir s3://\*\*\*\*@bucket/cosmos/dbt-ls-v1 .*Install apache-airflow",
        ),
        ("nowhere://x", "Airflow cannot read nowhere://"),
        ("/dev/null/x", "NotADirectoryError"),
    ],
)
def test_a_place_that_cannot_be_had_is_one_warning(
    place: Place, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture, url: str, words: str
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_CACHE_DIR", url)

    assert len(place.load().nodes) == NODES
    said = [record for record in log.records if "remote_cache_dir" in record.getMessage()]
    assert len({id(record) for record in said}) == 1
    assert "word" not in said[0].getMessage()
    assert re.search(words, said[0].getMessage())
