"""The operators of dbt's documentation: what they take. How it gets into a cloud: ``tests/clouds``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators import local
from pytest_cosmos_venv import FakeVenv
from tests.kit import MakeNamed, operator_arguments

pytestmark = pytest.mark.filterwarnings("ignore:DbtDocs.* cannot be called outside")


@pytest.fixture
def make(dbt_project: Path, cosmos_fake_venv: FakeVenv) -> MakeNamed:
    def make(name: str, **arguments: Any) -> Any:
        given = {"connection_id": "cloud", "bucket_name": "docs"} if name else {}
        return getattr(local, f"DbtDocs{name}LocalOperator")(
            **operator_arguments(dbt_project, dbt_executable_path=cosmos_fake_venv.dbt),
            **{name: value for name, value in {**given, **arguments}.items() if value is not ...},
        )

    return make


def test_a_static_page_is_all_there_is(make: MakeNamed, monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded: list[str] = []

    def run_and_write(self: Any, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> Any:
        result = local.DbtLocalBaseOperator.run_subprocess(self, command, env, cwd, **kwargs)
        if "--static" in command:  # as dbt does; the fake writes no such page
            Path(cwd, "target", "static_index.html").write_text("dbt Docs")
        return result

    monkeypatch.setattr(local.DbtDocsS3LocalOperator, "run_subprocess", run_and_write, raising=False)
    monkeypatch.setattr(local.DbtDocsS3LocalOperator, "upload", lambda *words: uploaded.append(words[-1]))

    make("S3", dbt_cmd_flags={"docs generate": ["--static"]}).execute({})

    assert uploaded == ["static_index.html"]


@pytest.mark.parametrize(
    ("cloud", "old", "new"),
    [
        ("S3", "aws_conn_id", "connection_id"),
        ("AzureStorage", "azure_conn_id", "connection_id"),
        ("AzureStorage", "container_name", "bucket_name"),
    ],
)
def test_old_names_are_taken_with_a_warning(make: MakeNamed, cloud: str, old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"{old} of DbtDocs{cloud}LocalOperator is called {new} now"):
        operator = make(cloud, **{new: ..., old: "mine"})

    assert getattr(operator, new) == "mine"


def test_where_to_has_to_be_said(make: MakeNamed) -> None:
    with pytest.raises(CosmosValueError, match=r"DbtDocsS3LocalOperator needs bucket_name"):
        make("S3", bucket_name=...)


def test_where_to_can_stand_among_the_default_arguments(make: MakeNamed) -> None:
    operator = make("GCS", bucket_name=..., default_args={"bucket_name": "of-all"})

    assert operator.bucket_name == "of-all"


def test_a_provider_that_is_not_installed_is_named(make: MakeNamed) -> None:
    with pytest.raises(AirflowException, match=r"GCSHook is needed.*Install apache-airflow-providers-google"):
        make("GCS").execute({})
