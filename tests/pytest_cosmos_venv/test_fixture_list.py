"""Can somebody who has nothing but pytest's own lists find his way: ``--fixtures -v``, ``--markers``?"""

from __future__ import annotations

import re

import pytest

from tests.pytest_cosmos_venv.inner_run import ROOT, public_fixtures

pytest_plugins = ["pytester"]

LONGEST = 110
ENTRY = re.compile(r"^(?P<name>\w+)(?: \[\w+ scope\])? -- [^\n]*\n(?P<text>(?:(?: {4}[^\n]*)?\n)+)", re.MULTILINE)


def test_every_fixture_says_in_its_first_line_what_one_gets(pytester: pytest.Pytester) -> None:
    listed = str(pytester.runpytest_subprocess("--fixtures", "-v").stdout)

    texts = {found["name"]: found["text"] for found in ENTRY.finditer(listed) if "cosmos_" in found["name"]}
    public = {name: text for name, text in texts.items() if not name.startswith("_")}
    assert public.keys() == public_fixtures()
    assert all(name.startswith("_cosmos_") for name in texts.keys() - public.keys())
    assert [name for name, text in texts.items() if "no docstring available" in text] == []
    first_lines = {name: text.strip().partition("\n")[0] for name, text in public.items()}
    assert {name: line for name, line in first_lines.items() if not is_sentence(line)} == {}


def is_sentence(line: str) -> bool:
    return len(line) <= LONGEST and re.fullmatch(r"[A-Z].+\w.*\.", line) is not None


def test_what_is_not_for_users_is_not_listed_to_them(pytester: pytest.Pytester) -> None:
    listed = str(pytester.runpytest_subprocess("--fixtures").stdout)

    assert set(re.findall(r"^(\w*cosmos_\w+)", listed, re.MULTILINE)) == public_fixtures()


def test_the_mark_is_listed_with_all_that_it_takes(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--markers")

    result.stdout.fnmatch_lines(["@pytest.mark.cosmos_race([*], racers, across_workers=False, timeout=300): *"])
    assert str(result.stdout).count("@pytest.mark.cosmos") == 1


def test_all_that_the_plugin_adds_begins_with_cosmos_and_stands_on_its_page(pytester: pytest.Pytester) -> None:
    with_plugin = set(words(str(pytester.runpytest_subprocess("--help").stdout)))
    without = set(words(str(pytester.runpytest_subprocess("--help", "-p", "no:cosmos_venv").stdout)))

    added = with_plugin - without
    assert {"--cosmos-cache-dir", "cosmos_cache_dir"} <= added
    assert [word for word in added if not word.startswith(("--cosmos-", "cosmos_"))] == []
    page = (ROOT / "docs" / "toolkit" / "options.md").read_text(encoding="utf-8")
    assert {word for word in added if f"`{word}" not in page} == set()
    assert set(re.findall(r"^\| `(--cosmos-[a-z-]+|cosmos_\w+)", page, re.MULTILINE)) <= added


def test_the_index_of_the_pages_names_every_fixture_and_every_page() -> None:
    pages = ROOT / "docs" / "toolkit"
    index = (pages / "index.md").read_text(encoding="utf-8")

    assert {name for name in public_fixtures() if f"`{name}`" not in index} == set()
    assert set(re.findall(r"\]\((\S+\.md)\)", index)) == {page.name for page in pages.glob("*.md")} - {"index.md"}


def words(text: str) -> list[str]:
    """The names of options and of settings in the ini file."""
    return re.findall(r"^  (--?[\w-]+|\w+(?= \())", text, re.MULTILINE)
