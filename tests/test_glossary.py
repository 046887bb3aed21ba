"""The glossary and the code agree: its terms live where it says, and its old words name nothing any more."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.test_structure import PACKAGES, ROOT, sources

PAGE = ROOT / "docs" / "reference" / "glossary.md"
TERMS, _, OLD_WORDS = PAGE.read_text(encoding="utf-8").partition("## Words that are not used")
OLD_NAMES, _, NOWHERE = OLD_WORDS.partition("These stand in no text")


def rows(text: str) -> list[list[str]]:
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return [cells for cells in found if not set(cells[0]) <= set("-") and cells[0] not in ("term", "not")]


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().strip("_")


@cache
def names() -> list[tuple[str, str]]:
    """Each file with the names of its module, classes and functions, in snake case."""
    found = [(path, name) for path in sources(*PACKAGES) for name in names_in(path)]
    return [(str(path.relative_to(ROOT)), name) for path, name in found]


def names_in(path: Path) -> Iterator[str]:
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield snake_case(node.name)


@cache
def texts() -> list[Path]:
    """All that people read: code and pages. The list of changes tells of words that were."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("**/*.md")]
    pages += [page for package in PACKAGES for page in (ROOT / package).glob("**/*.md")]
    return [*sources(*PACKAGES, "benchmarks", "tools"), *(page for page in pages if page != PAGE)]


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def first_sentence(docstring: str) -> str:
    return re.split(r"(?<=[.?!:])\s", docstring, maxsplit=1)[0]


@pytest.mark.parametrize("cells", rows(TERMS), ids=lambda cells: cells[0])
def test_a_term_lives_where_the_glossary_says(cells: list[str]) -> None:
    _, meaning, place = cells

    assert meaning
    assert (ROOT / place.strip("`")).is_file()


def test_what_the_glossary_sets_as_code_stands_in_the_code() -> None:
    names = {name for cells in rows(TERMS) for name in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", " ".join(cells[:2]))}
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources(*PACKAGES))

    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", code)] == []


def test_no_term_stands_there_twice() -> None:
    terms = [cells[0] for cells in rows(TERMS)]

    assert sorted(terms) == sorted(set(terms))


@pytest.mark.parametrize("cells", [*rows(OLD_NAMES), *rows(NOWHERE)], ids=lambda cells: cells[0])
def test_an_old_word_is_in_no_name(cells: list[str]) -> None:
    old = [f"_{re.sub('[ -]', '_', word.strip())}_" for word in cells[0].split(",")]

    assert [f"{file}: {name}" for file, name in names() if any(word in f"_{name}_" for word in old)] == []


@pytest.mark.parametrize("cells", rows(NOWHERE), ids=lambda cells: cells[0])
def test_an_old_word_is_in_no_text(cells: list[str]) -> None:
    words = "|".join(re.sub("[ -]", "[ _-]", word.strip()) for word in cells[0].split(","))
    # Python's module of this name is meant where a dot or another module follows.
    old = re.compile(rf"(?<!, )\b(?:{words})s?\b(?![.,])", re.IGNORECASE)

    assert [f"{path.relative_to(ROOT)}: {found[0]}" for path in texts() if (found := old.search(text_of(path)))] == []


def test_no_module_docstring_asks() -> None:
    docstrings = {
        str(path.relative_to(ROOT)): ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        for path in sources(*PACKAGES, "benchmarks", "tools", "tests")
    }

    assert [name for name, text in docstrings.items() if first_sentence(text).endswith("?")] == []
    assert [name for name, text in docstrings.items() if not text and not name.startswith("tests/")] == []
