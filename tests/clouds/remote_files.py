"""Manifests and projects are read from S3, and answers of dbt ls kept there, through Airflow's own provider.

Run by ``test_uploads.py`` in the environment that has it.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.graph import DbtGraph
from cosmos_venv.project.remote_project import copy_of
from tests.clouds import pretended
from tests.clouds.pretended import BUCKET, S3
from tests.project.ls_place import DATA, Place

KEY = "harbor/manifest.json"
URL = f"s3://{BUCKET}/{KEY}"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def store() -> Iterator[S3]:
    """Reached by the storage's default connection, and by one of another name. Airflow keeps what it has reached."""
    with pretended.amazon() as made, pytest.MonkeyPatch.context() as env:
        for name in ("AWS_DEFAULT", "STORE"):
            env.setenv(f"AIRFLOW_CONN_{name}", json.dumps(made.connection))
        yield made


@pytest.fixture
def cloud(store: S3) -> S3:
    """Empty."""
    store.clear()
    return store


@pytest.fixture
def asked(cloud: S3, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The operations that the store is asked for, in botocore's words."""
    base: Any = import_module("aiobotocore.client").AioBaseClient
    operations: list[str] = []
    real = base._make_api_call

    async def noting(self: object, name: str, arguments: object) -> object:
        operations.append(name)
        return await real(self, name, arguments)

    monkeypatch.setattr(base, "_make_api_call", noting)
    return operations


def load(conn_id: str | None = None) -> DbtGraph:
    made = DbtGraph(
        project=ProjectConfig(DATA, manifest_path=URL, manifest_conn_id=conn_id), render_config=RenderConfig()
    )
    made.load()
    return made


def put(cloud: S3, content: bytes) -> None:
    cloud._client.put_object(Bucket=BUCKET, Key=KEY, Body=content)


@pytest.mark.parametrize("conn_id", [None, "store"])
def test_a_manifest_is_read_once_until_it_changes(cloud: S3, asked: list[str], conn_id: str | None) -> None:
    put(cloud, (DATA / "manifest.json").read_bytes())
    nodes = [load(conn_id).nodes for _ in range(2)]
    assert asked.count("GetObject") == 1
    manifest = json.loads((DATA / "manifest.json").read_bytes())
    put(cloud, json.dumps({**manifest, "sources": {}}).encode())

    assert len(nodes[0]) == 32
    assert nodes[0] == nodes[1]
    assert len(load(conn_id).nodes) == 32 - len(manifest["sources"])
    assert asked.count("GetObject") == 2


def test_a_manifest_that_is_not_there_is_named(cloud: S3) -> None:
    with pytest.raises(CosmosLoadDbtException, match=rf"manifest_path {URL} cannot be read: FileNotFoundError"):
        load()


def test_what_dbt_ls_has_said_is_kept_there(cloud: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_CACHE_DIR", f"s3://{BUCKET}/cosmos")
    place = Place(tmp_path)
    first = place.load()
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "another machine"))
    second = place.load()

    assert place.calls == 1
    assert second.load_method is LoadMode.DBT_LS_CACHE
    assert second.nodes == first.nodes
    assert [key.rpartition("/")[0] for key in cloud.objects] == ["cosmos/dbt-ls-v1"]


def put_project(cloud: S3, **more: bytes) -> None:
    files = {"dbt_project.yml": b"name: harbor", "models/ports.sql": b"select 1", "models/": b"", **more}
    for name, content in files.items():
        cloud._client.put_object(Bucket=BUCKET, Key=f"projects/harbor/{name}", Body=content)


def fetched(address: str, conn_id: str | None = None) -> Path:
    config = ProjectConfig(address, dbt_project_conn_id=conn_id)
    assert config.address is not None
    return copy_of(config.address)


@pytest.mark.parametrize("conn_id", [None, "store"])
def test_the_folder_of_a_project_is_copied_once_until_a_file_changes(
    cloud: S3, asked: list[str], conn_id: str | None
) -> None:
    put_project(cloud)
    folders = {fetched(f"s3://{BUCKET}/projects/harbor", conn_id) for _ in range(2)}
    assert asked.count("GetObject") == 2
    put_project(cloud, **{"models/ports.sql": b"select 22"})

    second = fetched(f"s3://{BUCKET}/projects/harbor", conn_id)

    (first,) = folders
    assert [(each / "models" / "ports.sql").read_text() for each in (first, second)] == ["select 1", "select 22"]


@pytest.mark.parametrize("name", ["/etc/harbor", "models/../../escaped"])
def test_a_file_whose_key_leads_out_of_the_folder_is_refused(cloud: S3, name: str) -> None:
    put_project(cloud, **{name: b"x"})

    with pytest.raises(CosmosLoadDbtException, match=rf"its file '{name}' leads out of it"):
        fetched(f"s3://{BUCKET}/projects/harbor")


def test_the_archive_of_a_project_is_read_once(cloud: S3, asked: list[str]) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("harbor/dbt_project.yml", "name: harbor")
    cloud._client.put_object(Bucket=BUCKET, Key="harbor.zip", Body=content.getvalue())

    folders = {fetched(f"s3://{BUCKET}/harbor.zip") for _ in range(2)}

    assert [(each / "dbt_project.yml").read_text() for each in folders] == ["name: harbor"]
    assert asked.count("GetObject") == 1
