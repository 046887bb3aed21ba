"""dbt's page with its data, from a folder and from a web server; from object storage: ``tests/clouds``."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.files.read_limits import MEBIBYTE
from cosmos_venv.managed.caches import cache_dir
from cosmos_venv.plugin.docs_projects import DocsProject
from cosmos_venv.plugin.docs_source import DocsUnreadable, page_of
from tests.installed import environment_of, needs_dbt
from tests.plugin.docs_folder import CATALOG, MANIFEST
from tests.plugin.docs_server import serving

pytestmark = pytest.mark.usefixtures("own_cache")


def project(folder: Path | str, index: str = "index.html", **changes: Any) -> DocsProject:
    return DocsProject(name="shop", folder=folder, index=index, title="the shop", **changes)


def shown(project: DocsProject) -> bytes:
    page = page_of(project)
    content = b"".join(page.pieces())
    assert len(content) == page.size
    return content


def data_in(page: bytes) -> list[Any]:
    """The two values of JavaScript in the page of ``docs_folder``, which are JSON too."""
    found = re.fullmatch(rb"<html><script>n=\{manifest:(.*),catalog:(.*)\}</script></html>", page, re.DOTALL)
    assert found is not None, page
    return [json.loads(each) for each in found.groups()]


def test_the_data_are_put_into_the_page_and_cannot_end_its_script(docs_folder: Path) -> None:
    page = shown(project(docs_folder))

    assert data_in(page) == [MANIFEST, CATALOG]
    assert page.count(b"<") == 4, "the tags of the page itself"


def test_a_static_page_needs_no_other_file(tmp_path: Path) -> None:
    text = 'n={manifest:{"metadata":{"dbt_schema_version":"x"}}};load("manifest.json")'
    (tmp_path / "static_index.html").write_text(text)

    assert shown(project(tmp_path, "static_index.html")) == text.encode()


@needs_dbt
@pytest.mark.parametrize("release", ["dbt110", "dbt111"])
def test_dbts_own_page_has_the_two_places(release: str, docs_folder: Path) -> None:
    (index,) = (environment_of(release) / "lib").glob("python3.*/site-packages/dbt/task/docs/index.html")
    (docs_folder / "index.html").write_bytes(index.read_bytes())

    page = shown(project(docs_folder))

    assert b"INLINE DATA" not in page
    assert len(page) > index.stat().st_size


def test_the_page_of_an_old_dbt_is_refused_with_a_way_out(docs_folder: Path) -> None:
    (docs_folder / "index.html").write_text('load("manifest.json"+t)')

    words = "a dbt before 1.7, which has no place for the data. Replace the file by"
    with pytest.raises(DocsUnreadable, match=re.escape(words)):
        shown(project(docs_folder))


@pytest.mark.parametrize("name", ["index.html", "manifest.json"])
def test_a_link_is_not_followed(docs_folder: Path, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "airflow.cfg"
    secret.write_text('"secret"')
    (docs_folder / name).unlink()
    (docs_folder / name).symlink_to(secret)

    with pytest.raises(DocsUnreadable, match=f"{name} of the shop cannot be read from .*docs: .*link"):
        shown(project(docs_folder))


@pytest.mark.parametrize("name", ["index.html", "manifest.json"])
def test_a_missing_file_is_a_sentence(docs_folder: Path, name: str) -> None:
    (docs_folder / name).unlink()

    with pytest.raises(DocsUnreadable, match=f"{name} of the shop cannot be read .*dbt docs generate writes it"):
        shown(project(docs_folder))


def test_a_large_file_is_a_sentence(docs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__DBT_DOCS_MAX_BYTES", "20")

    with pytest.raises(DocsUnreadable, match=r"more than \[cosmos_venv\] dbt_docs_max_bytes = 20"):
        shown(project(docs_folder))


@pytest.mark.parametrize("text", ["alert(1)", "[" * 100_000, "{}, alert(1)"])
def test_data_that_are_no_json_are_a_sentence(docs_folder: Path, text: str) -> None:
    (docs_folder / "manifest.json").write_text(text)

    with pytest.raises(DocsUnreadable, match=r"manifest\.json of the shop is no JSON: "):
        shown(project(docs_folder))


def test_docs_of_a_web_server_are_read_with_their_connection(
    docs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WEB", json.dumps({"conn_type": "http", "extra": {"X-Key": "k"}}))
    with serving(docs_folder) as server:
        page = shown(project(f"{server.address}/docs?signature=s", conn_id="web"))

    assert data_in(page) == [MANIFEST, CATALOG]
    assert {asked.path for asked in server.asked} == {
        f"/docs/{name}?signature=s" for name in ("index.html", "manifest.json", "catalog.json")
    }
    assert {asked.key for asked in server.asked} == {"k"}


def test_what_a_web_server_says_is_a_sentence_without_credentials(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        address = server.address.replace("//", "//user:password@")
        with pytest.raises(DocsUnreadable, match="the server says 404") as caught:
            shown(project(f"{address}/docs?signature=s3cret"))

    assert "password" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_redirection_to_another_host_is_refused(docs_folder: Path) -> None:
    with (
        serving(docs_folder) as other,
        serving(docs_folder, redirects_to=f"{other.address}/docs") as server,
        pytest.raises(DocsUnreadable, match="the server redirects to another host"),
    ):
        shown(project(f"{server.address}/docs"))

    assert other.asked == []


def test_a_redirection_on_the_same_host_is_followed(docs_folder: Path) -> None:
    with serving(docs_folder, redirects_to="/moved") as server:
        assert data_in(shown(project(f"{server.address}/docs"))) == [MANIFEST, CATALOG]


def test_a_page_is_made_once_a_version(docs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = page_of(project(docs_folder))
    made = (kept_file(docs_folder).stat().st_ino, first.version)
    again = page_of(project(docs_folder))
    assert (kept_file(docs_folder).stat().st_ino, again.version) == made

    (docs_folder / "manifest.json").write_text('{"nodes": {}}')
    changed = page_of(project(docs_folder))

    assert changed.version != first.version
    assert [data_in(b"".join(each.pieces()))[0] for each in (first, again, changed)] == [
        MANIFEST,
        MANIFEST,
        {"nodes": {}},
    ], "who reads goes on with the page of before"


def kept_file(docs_folder: Path) -> Path:
    """The file of the page that is kept; there is one for each project."""
    (file,) = (cache_dir() / "docs-v1").glob("*.html")
    return file


def test_a_page_of_a_web_server_is_fetched_once_a_version(docs_folder: Path) -> None:
    with serving(docs_folder, names_versions=True) as server:
        of_web = project(f"{server.address}/docs")
        first = page_of(of_web)
        sent = [asked.path for asked in server.asked if asked.was_sent]
        again = page_of(of_web)
        sent_again = [asked.path for asked in server.asked if asked.was_sent][len(sent) :]
        (docs_folder / "catalog.json").write_text('{"nodes": {"a": {}}}')
        changed = shown(of_web)

    assert {*sent} == {"/docs/catalog.json", "/docs/index.html", "/docs/manifest.json"}
    assert sent_again == []
    assert first.version == again.version
    assert data_in(changed)[1] == {"nodes": {"a": {}}}
    first.file.close()
    again.file.close()


def test_a_page_of_a_web_server_without_versions_is_written_once(docs_folder: Path) -> None:
    with serving(docs_folder) as server:
        of_web = project(f"{server.address}/docs")
        page_of(of_web).file.close()
        written = kept_file(docs_folder).stat()
        page_of(of_web).file.close()

    assert kept_file(docs_folder).stat().st_ino == written.st_ino


@pytest.mark.parametrize("place", ["disk", "web"])
def test_a_catalog_may_come_and_go(docs_folder: Path, place: str) -> None:
    catalog = docs_folder / "catalog.json"
    catalog.write_text('{"nodes": {"a": {}}}')
    with serving(docs_folder, names_versions=True) as server:
        of = project(docs_folder if place == "disk" else f"{server.address}/docs")
        found = [data_in(shown(of))[1]["nodes"]]
        catalog.rename(docs_folder / "aside")
        found.append(data_in(shown(of))[1]["nodes"])
        (docs_folder / "aside").rename(catalog)
        found.append(data_in(shown(of))[1]["nodes"])

    assert found == [{"a": {}}, {}, {"a": {}}]


@pytest.mark.parametrize("folder_of", ["disk", "web"])
def test_what_the_data_come_to_in_the_page_has_the_limit_too(
    docs_folder: Path, monkeypatch: pytest.MonkeyPatch, folder_of: str
) -> None:
    (docs_folder / "manifest.json").write_text(json.dumps({"nodes": "<" * 3_000}))
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__DBT_DOCS_MAX_BYTES", "10000")

    with serving(docs_folder) as server:
        folder = docs_folder if folder_of == "disk" else f"{server.address}/docs"
        with pytest.raises(DocsUnreadable, match=r"page of the shop has more than \[cosmos_venv\] dbt_docs_max_bytes"):
            page_of(project(folder))


def test_a_page_that_names_a_place_a_hundred_times_has_the_data_once(docs_folder: Path) -> None:
    (docs_folder / "index.html").write_text('"CATALOG.JSON INLINE DATA"' + '"MANIFEST.JSON INLINE DATA"' * 100)

    page = shown(project(docs_folder))

    assert page.count(b"model.shop.orders") == 1


def test_a_page_that_cannot_be_kept_is_a_sentence_with_a_way_out(docs_folder: Path) -> None:
    folder = cache_dir() / "docs-v1"
    folder.mkdir(parents=True)
    folder.chmod(0o777)

    with pytest.raises(DocsUnreadable, match=r"cannot be kept in .*docs-v1\. Make room there, or set \[cosmos_venv\]"):
        page_of(project(docs_folder))


def test_making_a_page_has_its_files_in_memory_once_and_showing_it_none(docs_folder: Path) -> None:
    size = 8 * MEBIBYTE
    for name in ("manifest.json", "catalog.json"):
        (docs_folder / name).write_text(json.dumps({"nodes": "x" * size}))

    tracemalloc.start()
    try:
        page = page_of(project(docs_folder))
        _, made = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        pages = [page, *(page_of(project(docs_folder)) for _ in range(20))]
        for pieces in zip(*(each.pieces() for each in pages), strict=True):
            assert len(pieces) == 21
        _, sent = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert page.size > 2 * size
    assert made < 2.5 * size
    assert sent < 21 * MEBIBYTE
