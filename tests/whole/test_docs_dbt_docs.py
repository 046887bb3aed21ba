"""The page docs/how-to/dags/dbt-docs.md is as it says."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from cosmos_venv.plugin import docs_projects
from cosmos_venv.plugin.docs_projects import configured_docs
from cosmos_venv.settings.table import SETTINGS
from tests.whole.page_blocks import blocks_in

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "dags" / "dbt-docs.md").read_text(encoding="utf-8")


def test_the_table_of_settings_has_all() -> None:
    (names,) = blocks_in(PAGE, "{generated} settings-table")

    assert set(names.split()) == {name for name in SETTINGS if name.startswith("dbt_docs_")}


def test_the_table_of_keys_is_that_of_the_code() -> None:
    _, _, table = PAGE.partition("| key of a project |")

    assert re.findall(r"(?m)^\| `(\w+)` \|", table) == ["dir", "conn_id", "index", "name", "dag_id"]
    assert set(docs_projects._KEYS) == {"dir", "conn_id", "index", "name", "dag_id"}


@pytest.mark.parametrize(("number", "names"), [(0, ["default"]), (1, ["harbor", "ferries"])])
def test_its_settings_are_right(number: int, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    parser = configparser.ConfigParser()
    parser.read_string(blocks_in(PAGE, "ini")[number])
    for name, value in parser["cosmos"].items():
        monkeypatch.setenv(f"AIRFLOW__COSMOS__{name.upper()}", value)

    docs = configured_docs()

    assert docs.problems == ()
    assert list(docs.projects) == names


def test_its_link_is_right() -> None:
    (example,) = re.findall(r"(?s)```python\n(from cosmos_venv.plugin.*?)```", PAGE)

    exec(example, {})  # noqa: S102 - our own page
