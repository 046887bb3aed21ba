"""The operators of dbt's documentation: what they take. How it gets into a cloud: ``tests/clouds``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.dbt.command import FullOutputSubprocessResult
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators import local
from pytest_cosmos_venv import FakeVenv
from tests.kit import MakeTask, operator_arguments

pytestmark = pytest.mark.filterwarnings("ignore:DbtDocs.* cannot be called outside")


@pytest.fixture
def make(dbt_project: Path, cosmos_fake_venv: FakeVenv) -> MakeTask:
    def make(of: str = "", **arguments: Any) -> Any:
        given: dict[str, Any] = {"connection_id": "cloud", "bucket_name": "docs"} if of else {}
        given = {"dbt_executable_path": cosmos_fake_venv.dbt, **given, **arguments}
        return getattr(local, f"DbtDocs{of}LocalOperator")(
            **operator_arguments(dbt_project),
            **{name: value for name, value in given.items() if value is not ...},
        )

    return make


@pytest.fixture
def uploaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that were uploaded to S3, where nothing goes."""
    keys: list[str] = []
    monkeypatch.setattr(local.DbtDocsS3LocalOperator, "upload", lambda *words: keys.append(words[-1]))
    return keys


def test_a_static_page_is_all_there_is(make: MakeTask, monkeypatch: pytest.MonkeyPatch, uploaded: list[str]) -> None:
    def run_and_write(self: Any, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> Any:
        result = local.DbtLocalBaseOperator.run_subprocess(self, command, env, cwd, **kwargs)
        if "--static" in command:  # as dbt does; the fake writes no such page
            Path(cwd, "target", "static_index.html").write_text("dbt Docs")
        return result

    monkeypatch.setattr(local.DbtDocsS3LocalOperator, "run_subprocess", run_and_write, raising=False)

    make("S3", dbt_cmd_flags={"docs generate": ["--static"]}).execute({})

    assert uploaded == ["static_index.html"]


def test_the_files_that_are_asked_for_are_uploaded(make: MakeTask, uploaded: list[str]) -> None:
    make("S3", required_files=["catalog.json", "manifest.json"], folder_dir="docs").execute({})

    assert uploaded == ["docs/catalog.json", "docs/manifest.json"]


@pytest.mark.parametrize("wrong", ["catalog.json", [], [5], {"catalog.json": True}])
def test_the_files_are_a_list_of_names(make: MakeTask, wrong: object) -> None:
    with pytest.raises(CosmosValueError, match=r"required_files=.*: give a list of file names"):
        make("S3", required_files=wrong)


def test_nothing_is_uploaded_where_a_file_is_missing(make: MakeTask, uploaded: list[str]) -> None:
    with pytest.raises(
        AirflowException, match=r"has left no graph\.gpickle in its target folder; nothing was uploaded"
    ):
        make("S3", required_files=["catalog.json", "graph.gpickle"]).execute({})

    assert uploaded == []


def test_dbt_2_makes_no_page_and_the_error_says_what_can_be_uploaded(
    make: MakeTask, monkeypatch: pytest.MonkeyPatch, uploaded: list[str]
) -> None:
    def write(self: Any, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> Any:
        assert "compile --write-catalog" in " ".join(command)
        for name in ("manifest.json", "catalog.json"):
            Path(cwd, "target").mkdir(exist_ok=True)
            Path(cwd, "target", name).write_text("{}")
        return FullOutputSubprocessResult(0, "", [])

    monkeypatch.setattr(local.DbtDocsS3LocalOperator, "run_subprocess", write, raising=False)
    program = sys.executable  # as dbt 2 it is no script

    with pytest.raises(AirflowException) as failure:
        make("S3", dbt_executable_path=program).execute({})

    assert str(failure.value) == (
        "dbt 2 has left no index.html in its target folder, and nothing was uploaded: in place of docs generate it has "
        "compile --write-catalog, which makes no page. Give required_files=['manifest.json', 'catalog.json'] and serve "
        "them beside an index.html of dbt 1, or run dbt 1 here."
    )
    assert uploaded == []

    make("S3", dbt_executable_path=program, required_files=["manifest.json", "catalog.json"]).execute({})

    assert uploaded == ["manifest.json", "catalog.json"]


@pytest.mark.parametrize(
    ("cloud", "old", "new"),
    [
        ("S3", "aws_conn_id", "connection_id"),
        ("AzureStorage", "azure_conn_id", "connection_id"),
        ("AzureStorage", "container_name", "bucket_name"),
    ],
)
def test_old_names_are_taken_with_a_warning(make: MakeTask, cloud: str, old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"{old} of DbtDocs{cloud}LocalOperator is called {new} now"):
        operator = make(cloud, **{new: ..., old: "mine"})

    assert getattr(operator, new) == "mine"


def test_where_to_has_to_be_said(make: MakeTask) -> None:
    with pytest.raises(CosmosValueError, match=r"DbtDocsS3LocalOperator needs bucket_name"):
        make("S3", bucket_name=...)


def test_where_to_can_stand_among_the_default_arguments(make: MakeTask) -> None:
    operator = make("GCS", bucket_name=..., default_args={"bucket_name": "of-all"})

    assert operator.bucket_name == "of-all"
