"""The page docs/how-to/dags/dbt-docs.md is as it says."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from cosmos_venv.plugin.docs_projects import configured_docs
from tests.whole.page_blocks import blocks_in

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "dags" / "dbt-docs.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("number", "names"), [(0, ["default"]), (1, ["harbor", "ferries"])])
def test_its_settings_are_right(number: int, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    parser = configparser.ConfigParser()
    parser.read_string(blocks_in(PAGE, "ini")[number])
    for name, value in parser["cosmos"].items():
        monkeypatch.setenv(f"AIRFLOW__COSMOS__{name.upper()}", value)

    docs = configured_docs()

    assert docs.problem == ""
    assert list(docs.projects) == names


def test_its_link_is_right() -> None:
    (example,) = re.findall(r"(?s)```python\n(from cosmos_venv.plugin.*?)```", PAGE)

    exec(example, {})  # noqa: S102 - our own page
