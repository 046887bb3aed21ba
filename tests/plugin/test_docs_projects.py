"""The dbt docs that the settings name, and the path of their page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.plugin.docs_projects import Docs, DocsProject, configured_docs, docs_path


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set ``dbt_docs_projects``, and return what is configured."""

    def several(said: object) -> Docs:
        text = said if isinstance(said, str) else json.dumps(said)
        monkeypatch.setenv("AIRFLOW__COSMOS__DBT_DOCS_PROJECTS", text)
        return configured_docs()

    return several


@pytest.mark.parametrize("section", ["COSMOS", "COSMOS_VENV"])
def test_one_project_is_named_by_settings_of_its_own(monkeypatch: pytest.MonkeyPatch, section: str) -> None:
    for name, value in {"DIR": "s3://bucket/docs", "CONN_ID": "store", "INDEX_FILE_NAME": "static_index.html"}.items():
        monkeypatch.setenv(f"AIRFLOW__{section}__DBT_DOCS_{name}", value)

    expected = DocsProject(
        name="default", folder="s3://bucket/docs", conn_id="store", index="static_index.html", title="dbt docs"
    )
    assert configured_docs() == Docs(projects={"default": expected})


def test_several_projects_are_named_by_one_json(several: Any) -> None:
    shop = {"dir": "file:///srv/shop", "index": "static.html", "name": "The shop", "dag_id": "shop", "conn_id": None}

    docs = several({"shop": shop, "mart": {"dir": "https://docs.example.com/mart", "conn_id": "web"}})

    assert docs == Docs(
        projects={
            "shop": DocsProject(
                name="shop", folder=Path("/srv/shop"), index="static.html", title="The shop", dag_id="shop"
            ),
            "mart": DocsProject(name="mart", folder="https://docs.example.com/mart", conn_id="web", title="mart"),
        }
    )


@pytest.mark.parametrize(
    ("said", "message"),
    [
        pytest.param("{shop", "dbt_docs_projects must be a JSON object such as", id="no-json"),
        pytest.param(["shop"], "dbt_docs_projects must be a JSON object such as", id="no-object"),
        pytest.param({"../shop": {"dir": "/srv"}}, "a name in a URL has letters, digits, - and _ only", id="name"),
        pytest.param(
            {"shop": "/srv"},
            "with conn_id, index, name and dag_id: Expected `object`, got `str` - at `$[...]`",
            id="no-dir",
        ),
        pytest.param({"shop": {"dir": "srv"}}, "dir 'srv' must be an absolute path or a URL", id="relative"),
        pytest.param({"shop": {"dir": "https://a:b/"}}, "'https://a:b/' is no URL", id="port"),
        pytest.param({"shop": {"dir": "/srv", "conn": ""}}, "unknown field `conn` - at `$[...]`", id="key"),
        pytest.param({"shop": {"dir": "/srv", "index": "../x"}}, "must be the name of a file", id="path"),
        pytest.param({"shop": {"dir": "/srv", "index": ".env"}}, "must be the name of a file", id="hidden"),
    ],
)
def test_a_setting_that_cannot_be_is_a_sentence(several: Any, said: object, message: str) -> None:
    docs = several(said)

    assert docs.projects == {}
    assert message in docs.problem


def test_a_project_with_the_name_of_the_one_project_is_a_sentence(
    several: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__DBT_DOCS_DIR", "/srv/one")

    docs = several({"default": {"dir": "/srv/other"}})

    assert docs.problem == (
        "The settings of dbt docs cannot be used: dbt_docs_projects: the project of dbt_docs_dir has the name "
        "'default'. Give it another."
    )


def test_settings_that_airflow_cannot_read_are_a_sentence(
    several: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from airflow.configuration import conf

    real = conf.get

    def get(section: str, key: str, **options: Any) -> Any:
        if key == "dbt_docs_dir":
            raise RuntimeError("the secrets backend of https://user:password@vault does not answer")
        return real(section, key, **options)

    monkeypatch.setattr(conf, "get", get)

    docs = several({"mart": {"dir": "/srv/mart"}})

    assert docs == Docs(
        problem="The settings of dbt docs cannot be used: the secrets backend of https://****@vault does not answer"
    )


@pytest.mark.parametrize(
    ("unique_id", "path"),
    [
        ("", "/dbt-docs/shop/"),
        ("source.shop.raw.orders", "/dbt-docs/shop/#!/source/source.shop.raw.orders"),
        ("test.shop.a b%", "/dbt-docs/shop/#!/test/test.shop.a%20b%25"),
    ],
)
def test_the_path_of_a_node_is_that_of_its_page(unique_id: str, path: str) -> None:
    assert docs_path("shop", unique_id) == path
