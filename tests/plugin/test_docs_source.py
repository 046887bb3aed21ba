"""dbt's page with its data, from a folder and from a web server; from object storage: ``tests/clouds``."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.plugin.docs_projects import DocsProject
from cosmos_venv.plugin.docs_source import DocsUnreadable, page_of
from tests.installed import environment_of, needs_dbt
from tests.plugin.docs_folder import CATALOG, MANIFEST
from tests.plugin.docs_server import serving


def project(folder: Path | str, index: str = "index.html", **changes: Any) -> DocsProject:
    return DocsProject(name="shop", folder=folder, index=index, title="the shop", **changes)


def data_in(page: bytes) -> list[Any]:
    """The two values of JavaScript in the page of ``docs_folder``, which are JSON too."""
    found = re.fullmatch(rb"<html><script>n=\{manifest:(.*),catalog:(.*)\}</script></html>", page, re.DOTALL)
    assert found is not None, page
    return [json.loads(each) for each in found.groups()]


def test_the_data_are_put_into_the_page_and_cannot_end_its_script(docs_folder: Path) -> None:
    page = page_of(project(docs_folder))

    assert data_in(page) == [MANIFEST, CATALOG]
    assert page.count(b"<") == 4, "the tags of the page itself"


def test_docs_without_a_catalog_are_shown(docs_folder: Path) -> None:
    (docs_folder / "catalog.json").unlink()

    assert data_in(page_of(project(docs_folder))) == [MANIFEST, {"nodes": {}, "sources": {}}]


def test_a_static_page_needs_no_other_file(tmp_path: Path) -> None:
    text = 'n={manifest:{"metadata":{"dbt_schema_version":"x"}}};load("manifest.json")'
    (tmp_path / "static_index.html").write_text(text)

    assert page_of(project(tmp_path, "static_index.html")) == text.encode()


@needs_dbt
@pytest.mark.parametrize("release", ["dbt110", "dbt111"])
def test_dbts_own_page_has_the_two_places(release: str, docs_folder: Path) -> None:
    (index,) = (environment_of(release) / "lib").glob("python3.*/site-packages/dbt/task/docs/index.html")
    (docs_folder / "index.html").write_bytes(index.read_bytes())

    page = page_of(project(docs_folder))

    assert b"INLINE DATA" not in page
    assert len(page) > index.stat().st_size


def test_the_page_of_an_old_dbt_is_refused_with_a_way_out(docs_folder: Path) -> None:
    (docs_folder / "index.html").write_text('load("manifest.json"+t)')

    with pytest.raises(DocsUnreadable, match=r"a dbt before 1\.7, which has no place for the data\. Replace it by"):
        page_of(project(docs_folder))


@pytest.mark.parametrize("name", ["index.html", "manifest.json"])
def test_a_link_is_not_followed(docs_folder: Path, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "airflow.cfg"
    secret.write_text('"secret"')
    (docs_folder / name).unlink()
    (docs_folder / name).symlink_to(secret)

    with pytest.raises(DocsUnreadable, match=f"{name} of the shop cannot be read from .*docs: .*link"):
        page_of(project(docs_folder))


def test_a_named_pipe_is_not_waited_for(docs_folder: Path) -> None:
    (docs_folder / "manifest.json").unlink()
    os.mkfifo(docs_folder / "manifest.json")

    with pytest.raises(DocsUnreadable, match=r"manifest\.json of the shop cannot be read .* named pipe"):
        page_of(project(docs_folder))


@pytest.mark.parametrize("name", ["index.html", "manifest.json"])
def test_a_missing_file_is_a_sentence(docs_folder: Path, name: str) -> None:
    (docs_folder / name).unlink()

    with pytest.raises(DocsUnreadable, match=f"{name} of the shop cannot be read .*dbt docs generate writes it"):
        page_of(project(docs_folder))


def test_a_large_file_is_a_sentence(docs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__DBT_DOCS_MAX_BYTES", "20")

    with pytest.raises(DocsUnreadable, match=r"more than \[cosmos_venv\] dbt_docs_max_bytes = 20"):
        page_of(project(docs_folder))


@pytest.mark.parametrize("text", ["alert(1)", "[" * 100_000, "{}, alert(1)"])
def test_data_that_are_no_json_are_a_sentence(docs_folder: Path, text: str) -> None:
    (docs_folder / "manifest.json").write_text(text)

    with pytest.raises(DocsUnreadable, match=r"manifest\.json of the shop is no JSON: "):
        page_of(project(docs_folder))


def test_docs_of_a_web_server_are_read_with_their_connection(
    docs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WEB", json.dumps({"conn_type": "http", "extra": {"X-Key": "k"}}))
    with serving(docs_folder) as server:
        page = page_of(project(f"{server.address}/docs?signature=s", conn_id="web"))

    assert data_in(page) == [MANIFEST, CATALOG]
    assert {asked.path for asked in server.asked} == {
        f"/docs/{name}?signature=s" for name in ("index.html", "manifest.json", "catalog.json")
    }
    assert {asked.key for asked in server.asked} == {"k"}


def test_a_catalog_that_a_web_server_has_not_is_an_empty_one(docs_folder: Path) -> None:
    (docs_folder / "catalog.json").unlink()
    with serving(docs_folder) as server:
        page = page_of(project(f"{server.address}/docs/"))

    assert data_in(page)[1] == {"nodes": {}, "sources": {}}


def test_what_a_web_server_says_is_a_sentence_without_credentials(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        address = server.address.replace("//", "//user:password@")
        with pytest.raises(DocsUnreadable, match="the server says 404") as caught:
            page_of(project(f"{address}/docs?signature=s3cret"))

    assert "password" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_redirection_to_another_host_is_refused(docs_folder: Path) -> None:
    with (
        serving(docs_folder) as other,
        serving(docs_folder, redirects_to=f"{other.address}/docs") as server,
        pytest.raises(DocsUnreadable, match="the server redirects to another host"),
    ):
        page_of(project(f"{server.address}/docs"))

    assert other.asked == []


def test_a_redirection_on_the_same_host_is_followed(docs_folder: Path) -> None:
    with serving(docs_folder, redirects_to="/moved") as server:
        assert data_in(page_of(project(f"{server.address}/docs"))) == [MANIFEST, CATALOG]
