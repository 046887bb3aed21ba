"""dbt docs are read from S3, through Airflow's own provider. Run by ``test_uploads.py`` where that is installed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cosmos_venv.plugin.docs_projects import DocsProject
from cosmos_venv.plugin.docs_source import DocsUnreadable, page_of
from tests.clouds import pretended
from tests.clouds.pretended import BUCKET, S3
from tests.plugin.docs_folder import CATALOG, INDEX, MANIFEST

FILES = {"index.html": INDEX, "manifest.json": json.dumps(MANIFEST), "catalog.json": json.dumps(CATALOG)}


@pytest.fixture(scope="module")
def store() -> Iterator[S3]:
    """Reached by a connection of its own, and by no other."""
    with pretended.amazon() as made, pytest.MonkeyPatch.context() as env:
        env.setenv("AIRFLOW_CONN_STORE", json.dumps(made.connection))
        yield made


def shown(project: DocsProject) -> bytes:
    return b"".join(page_of(project).pieces())


def put(store: S3, *names: str) -> DocsProject:
    """Have these files alone in the store."""
    store.clear()
    for name in names:
        store._client.put_object(Bucket=BUCKET, Key=f"dbt/docs/{name}", Body=FILES[name].encode())
    return DocsProject(name="shop", folder=f"s3://{BUCKET}/dbt/docs/", conn_id="store", title="shop")


def test_a_page_is_read_with_its_data(store: S3) -> None:
    page = shown(put(store, *FILES))

    assert json.dumps(CATALOG).encode() in page
    assert b"model.shop.orders" in page
    assert b"INLINE DATA" not in page


def test_a_page_is_read_once_and_again_where_a_file_has_changed(store: S3) -> None:
    project = put(store, *FILES)
    before = page_of(project).version

    assert page_of(project).version == before
    store._client.put_object(Bucket=BUCKET, Key="dbt/docs/catalog.json", Body=b'{"nodes": {}}')
    assert page_of(project).version != before


def test_a_page_without_a_catalog_is_read(store: S3) -> None:
    assert b'catalog:{"nodes": {}, "sources": {}}' in shown(put(store, "index.html", "manifest.json"))


def test_a_file_that_is_not_there_is_named(store: S3) -> None:
    with pytest.raises(DocsUnreadable, match=rf"manifest\.json of shop cannot be read from s3://{BUCKET}/dbt/docs/: "):
        shown(put(store, "index.html"))
