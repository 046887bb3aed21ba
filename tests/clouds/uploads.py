"""Documentation and artifacts go to the three clouds through Airflow's own providers.

Run by ``test_uploads.py`` in the environment that has these.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pytest

from cosmos_venv import io as cosmos_io
from cosmos_venv.compat import AirflowException
from cosmos_venv.dbt.results import Artifacts
from cosmos_venv.operators import local
from pytest_cosmos_venv import FakeVenv
from tests.clouds import pretended
from tests.clouds.pretended import BUCKET, Cloud
from tests.kit import operator_arguments

CLOUDS: dict[str, Any] = {"S3": pretended.amazon, "GCS": pretended.google, "AzureStorage": pretended.microsoft}
DEFAULT_CONNECTIONS = {"S3": "AWS_DEFAULT", "GCS": "GOOGLE_CLOUD_DEFAULT", "AzureStorage": "WASB_DEFAULT"}
CALLBACKS: dict[str, tuple[Any, str]] = {
    "S3": (cosmos_io.upload_to_aws_s3, "bucket_name"),
    "GCS": (cosmos_io.upload_to_gcp_gs, "bucket_name"),
    "AzureStorage": (cosmos_io.upload_to_azure_wasb, "container_name"),
}
PAGES = ["catalog.json", "index.html", "manifest.json"]


@pytest.fixture(params=CLOUDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cloud(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with CLOUDS[name]() as made:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUD", json.dumps(made.connection))
        monkeypatch.setenv(f"AIRFLOW_CONN_{DEFAULT_CONNECTIONS[name]}", json.dumps(made.connection))
        yield made


class Make(Protocol):
    """Make the operator that puts documentation into this cloud."""

    def __call__(self, **arguments: Any) -> Any: ...


@pytest.fixture
def make(name: str, dbt_project: Path, cosmos_fake_venv: FakeVenv) -> Make:
    def make(**arguments: Any) -> Any:
        return getattr(local, f"DbtDocs{name}LocalOperator")(
            **operator_arguments(dbt_project, dbt_executable_path=cosmos_fake_venv.dbt),
            **{"connection_id": "cloud", "bucket_name": BUCKET, **arguments},
        )

    return make


@pytest.fixture
def context() -> dict[str, Any]:
    task = SimpleNamespace(task_group=SimpleNamespace(group_id="pier"))
    ti = SimpleNamespace(task_id="pier.run", try_number=2, task=task)
    return {"ti": ti, "dag": SimpleNamespace(dag_id="harbor"), "run_id": "run-1"}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The target folder that dbt has left, with two files."""
    folder = tmp_path / "run" / "target"
    (folder / "compiled").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "compiled" / "mart.sql").write_text("select 'Größe'")
    return folder


@pytest.mark.parametrize(("folder", "prefix"), [(None, ""), ("harbor/today/", "harbor/today/")])
def test_the_pages_are_there_and_are_told_to_be_pages(
    make: Make, cloud: Cloud, folder: str | None, prefix: str
) -> None:
    make(folder_dir=folder).execute({})

    assert sorted(cloud.objects) == [f"{prefix}{page}" for page in PAGES]
    assert b"dbt Docs" in cloud.objects[f"{prefix}index.html"].content
    assert json.loads(cloud.objects[f"{prefix}manifest.json"].content)["nodes"]
    types = [cloud.objects[f"{prefix}{page}"].content_type for page in PAGES]
    assert types == ["application/json", "text/html", "application/json"]


def test_the_pages_of_the_next_run_replace_those_of_the_last(
    make: Make, cloud: Cloud, cosmos_fake_venv: FakeVenv
) -> None:
    make().execute({})
    cosmos_fake_venv.script("docs generate", artifacts={"manifest.json": {"nodes": {"model.harbor.new": {}}}})
    make().execute({})

    assert list(json.loads(cloud.objects["manifest.json"].content)["nodes"]) == ["model.harbor.new"]


def test_nothing_is_uploaded_after_a_failed_dbt(make: Make, cloud: Cloud, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("docs generate", exit_code=2)

    with pytest.raises(AirflowException, match="exit code 2"):
        make().execute({})

    assert cloud.objects == {}


def test_the_users_own_callback_is_called_too(make: Make, cloud: Cloud) -> None:
    called: list[str] = []

    make(callback=lambda project_dir, **_: called.append(project_dir)).execute({})

    assert len(called) == 1
    assert sorted(cloud.objects) == PAGES


def test_an_upload_callback_puts_each_file_below_dag_run_task_and_try(
    name: str, cloud: Cloud, context: dict[str, Any], target: Path
) -> None:
    upload, bucket = CALLBACKS[name]

    upload(str(target.parent), **{bucket: BUCKET}, context=context)

    contents = {key: stored.content.decode() for key, stored in cloud.objects.items()}
    assert contents == {
        "harbor/run-1/pier.run/2/target/manifest.json": "{}",
        "harbor/run-1/pier.run/2/target/compiled/mart.sql": "select 'Größe'",
    }


def test_an_upload_callback_makes_one_file_of_all(
    name: str, cloud: Cloud, context: dict[str, Any], target: Path
) -> None:
    upload, bucket = CALLBACKS[name]

    upload(str(target.parent), **{bucket: BUCKET}, use_tarball=True, context=context)

    ((key, stored),) = cloud.objects.items()
    assert key == "harbor/run-1/pier.run/2/target.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(stored.content)) as tar:
        assert sorted(entry.name for entry in tar if entry.isfile()) == [
            "target/compiled/mart.sql",
            "target/manifest.json",
        ]


@pytest.mark.parametrize("name", ["S3"])
def test_object_storage_leads_into_a_bucket_by_its_connection(
    name: str, cloud: Cloud, context: dict[str, Any], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_TARGET_PATH", f"s3://{BUCKET}/dbt")
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_TARGET_PATH_CONN_ID", "cloud")

    cosmos_io.upload_to_cloud_storage(str(target.parent), context=context)
    cosmos_io.upload_compiled_sql(Artifacts(target=target), context, report=print)

    contents = {key: stored.content for key, stored in cloud.objects.items()}
    assert contents.pop("dbt/harbor/run-1/pier.run/2/target/manifest.json") == b"{}"
    assert contents.pop("dbt/harbor/run-1/pier.run/2/target/compiled/mart.sql") == "select 'Größe'".encode()
    assert list(contents) == ["dbt/harbor__pier/run-1/compiled/mart.sql"]


@pytest.mark.parametrize("name", ["S3"])
def test_a_bucket_that_is_not_there_fails_the_task(name: str, cloud: Cloud, make: Make) -> None:
    with pytest.raises(Exception, match=r"no-such-bucket.*The specified bucket does not exist"):
        make(bucket_name="no-such-bucket").execute({})
