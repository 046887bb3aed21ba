"""What the pages of dbt docs answer, whatever the web framework."""

from __future__ import annotations

import json
import re
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from cosmos_venv.plugin import docs_source
from cosmos_venv.plugin.docs_answers import HttpResponse, answer

PATHS = ["", "shop/", "shop/page.html"]


def of(*dag_ids: str | None) -> Callable[[str | None], bool]:
    """A user who may see these DAGs; with None: DAGs in general."""
    return lambda dag_id: dag_id in dag_ids


@pytest.fixture(autouse=True)
def _two_projects(docs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    shop = {"dir": str(docs_folder), "name": "The <shop>"}
    mart = {"dir": str(docs_folder), "dag_id": "mart"}
    monkeypatch.setenv("AIRFLOW__COSMOS__DBT_DOCS_PROJECTS", json.dumps({"shop": shop, "mart": mart}))


def policy(of_page: HttpResponse) -> dict[str, str]:
    """The directives of the page's policy."""
    parts = (part.strip().partition(" ") for part in of_page.headers["Content-Security-Policy"].split(";"))
    return {name: rest for name, _, rest in parts}


@pytest.mark.parametrize("path", [*PATHS, "no-such-project/"])
def test_no_page_can_be_framed_elsewhere_sniffed_or_tell_where_it_stands(path: str) -> None:
    found = answer(path, may_see=of(None))

    assert found.headers["Content-Type"] == "text/html; charset=utf-8"
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["Referrer-Policy"] == "no-referrer"
    said = policy(found)
    assert said["default-src"] == said["base-uri"] == said["form-action"] == "'none'"
    assert said["frame-ancestors"] == "'self'"


def test_dbts_page_has_no_origin_and_may_ask_for_nothing() -> None:
    said = policy(answer("shop/page.html", may_see=of(None)))

    assert said["sandbox"] == "allow-scripts"
    assert "connect-src" not in said, "that of default-src counts"
    assert not any("http" in value or "'self'" in value for name, value in said.items() if name != "frame-ancestors")


@pytest.mark.parametrize("path", ["", "shop/"])
def test_our_own_pages_run_our_own_script_only(path: str) -> None:
    found = answer(path, may_see=of(None))

    said = policy(found)
    for tag, directive in {"script": "script-src", "style": "style-src"}.items():
        for text in re.findall(rf"<{tag}>(.*?)</{tag}>".encode(), found.body, re.DOTALL):
            assert said[directive] == f"'sha256-{b64encode(sha256(text).digest()).decode()}'"
    assert "sandbox" not in said


def test_a_page_is_kept_by_nobody_but_its_browser_which_asks_each_time(docs_folder: Path) -> None:
    first = answer("shop/page.html", may_see=of(None))
    tag = first.headers["ETag"]

    assert first.headers["Cache-Control"] == "private, no-cache"
    again = answer("shop/page.html", may_see=of(None), known=f'"other", W/{tag}')
    assert (again.status, again.body) == (304, b"")
    (docs_folder / "manifest.json").write_text("{}")
    assert answer("shop/page.html", may_see=of(None), known=tag).status == 200
    assert answer("shop/page.html", may_see=of(), known=tag).status == 404


def test_what_a_browser_has_already_costs_no_look_into_a_file_and_no_turn(docs_folder: Path) -> None:
    tag = answer("shop/page.html", may_see=of(None)).headers["ETag"]

    with docs_source._turn, refused_files(docs_folder):
        assert answer("shop/page.html", may_see=of(None), known=tag).status == 304


def test_a_page_that_is_made_already_takes_no_turn() -> None:
    before = b"".join(answer("shop/page.html", may_see=of(None)).pieces())

    with docs_source._turn:
        found = answer("shop/page.html", may_see=of(None))

    assert (found.status, b"".join(found.pieces())) == (200, before)
    assert found.headers["Content-Length"] == str(len(before))


@contextmanager
def refused_files(folder: Path) -> Iterator[None]:
    """Within this block each opened file below the folder is an error."""
    is_on = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if is_on and event == "open" and str(arguments[0]).startswith(str(folder)):
            raise AssertionError(arguments)

    sys.addaudithook(hook)
    try:
        yield
    finally:
        is_on = False


@pytest.mark.parametrize("path", ["shop/", "shop/page.html", "mart/", "mart/page.html"])
def test_a_user_who_may_not_see_dags_sees_nothing(path: str) -> None:
    refused = answer(path, may_see=of())

    assert refused.status == 404
    assert refused.body == answer("no-such-project/", may_see=of()).body
    assert answer("", may_see=of()).status == 403


def test_a_project_can_be_for_those_who_may_see_a_dag() -> None:
    assert answer("mart/page.html", may_see=of(None)).status == 404
    assert answer("mart/page.html", may_see=of("mart")).status == 200
    assert answer("shop/page.html", may_see=of("mart")).status == 404


@pytest.mark.parametrize(("dag_ids", "names"), [(["mart"], ["mart"]), ([None, "mart"], ["shop", "mart"])])
def test_the_list_names_what_the_user_may_see(dag_ids: list[str | None], names: list[str]) -> None:
    listed = answer("", may_see=of(*dag_ids))

    assert listed.status == 200
    assert re.findall(r'href="(\w+)/"', listed.body.decode()) == names


@pytest.mark.parametrize(
    "path",
    [
        "shop/manifest.json",
        "shop/index.html",
        "shop/../mart/page.html",
        "../shop/page.html",
        "/etc/passwd",
        "shop\\page.html",
        "\0",
    ],
)
def test_nothing_else_has_a_page(path: str) -> None:
    assert answer(path, may_see=of(None, "mart")).status == 404


def test_a_project_is_found_without_its_slash() -> None:
    found = answer("shop", may_see=of(None))

    assert (found.status, found.headers["Location"]) == (307, "shop/")
    assert answer("shop", may_see=of()).status == 404


def test_what_cannot_be_read_is_a_sentence_and_in_the_log(docs_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (docs_folder / "index.html").unlink()

    found = answer("shop/page.html", may_see=of(None))

    assert found.status == 502
    assert b"index.html of The &lt;shop&gt; cannot be read from " in found.body
    assert "dbt docs shop: index.html of The <shop> cannot be read from " in caplog.text
    assert "script-src" in policy(found)


def test_wrong_settings_are_sentences_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__DBT_DOCS_PROJECTS", json.dumps({"<b>": {"dir": "/srv"}}))

    body = answer("", may_see=of(None)).body.decode()

    assert "dbt_docs_projects[&#x27;&lt;b&gt;&#x27;]: a name in a URL has letters" in body


def test_while_a_page_is_made_no_thread_waits_and_the_browser_asks_again() -> None:
    """Each that waited would have one of the threads of Airflow's web server."""
    with docs_source._turn:
        busy = answer("shop/page.html", may_see=of(None))

    assert (busy.status, busy.headers["Refresh"], busy.headers["Retry-After"]) == (503, "2", "2")
    assert answer("shop/page.html", may_see=of(None)).status == 200, "a turn is given back"
    assert answer("shop/page.html", may_see=of(None)).status == 200
