"""Links of pages to files of the repository lead somewhere on the site too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.site.repository_links import with_repository_links

URL = "https://pier.example/harbor/blob/main"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    for name in ("docs/how-to/seeds.md", "docs/reference/requirements.md", "conformance/SPEC.md", "results/dags.md"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path / "docs"


def led(text: str, docs: Path, url: str = "") -> str:
    page = docs / "how-to" / "warm.md"
    return with_repository_links(text, page, docs, url, lambda target: target.is_relative_to(docs))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[a](../../results/dags.md#one)", f"[a]({URL}/results/dags.md#one)", id="a file"),
        pytest.param("[a](../../results)", f"[a]({URL}/results)", id="a folder"),
        pytest.param("[a](../../conformance/SPEC.md#x)", "[a](../reference/requirements.md#x)", id="a page instead"),
        pytest.param("[a](./seeds.md#b)", "[a](./seeds.md#b)", id="a page"),
        pytest.param("[a](../../nowhere.md)", "[a](../../nowhere.md)", id="nothing, for Sphinx to warn of"),
        pytest.param("![a](../../results/x.png)", "![a](../../results/x.png)", id="a picture"),
        pytest.param("```\n[a](../../results)\n```\n", "```\n[a](../../results)\n```\n", id="a block of code"),
        pytest.param(
            "x\n```py\n[]\n```\n[a](../../results)", f"x\n```py\n[]\n```\n[a]({URL}/results)", id="behind one"
        ),
    ],
)
def test_a_link_leads_to_the_published_repository(text: str, expected: str, docs: Path) -> None:
    assert led(text, docs, URL) == expected


def test_where_it_is_not_published_the_path_is_told(docs: Path) -> None:
    assert led("[the figures](../../results/dags.md)", docs) == "the figures (`results/dags.md`)"
