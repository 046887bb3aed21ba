"""SPEC.md and the suite: nothing is required that nobody looks at, and nothing looked at that is not required."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from conformance import SPECIFICATION_VERSION
from conformance.adapter import CAPABILITIES
from conformance.requirements import (
    COMPATIBILITIES,
    CORE,
    PROFILES,
    PYTHON_DBT,
    SPECIFICATION,
    Level,
    Requirement,
    read_specification,
)

SUITE = SPECIFICATION.parent
TEST_FILES = sorted(file for file in (SUITE / "checks").rglob("test_*.py") if file.name != "test_smoke.py")


def marked(file: Path) -> Iterator[str]:
    """Ids in ``requirement("…")`` above a test, or in its marks, and in ``case("…", …)`` among its parameters."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("requirement", "case"):
            value = node.args[0]
            assert isinstance(value, ast.Constant), f"{file.name}: {node.func.id}() takes an id, written out"
            yield str(value.value)


def functions_of(file: Path) -> Iterator[ast.FunctionDef]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    yield from (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def test_each_requirement_has_a_test_and_each_mark_a_requirement() -> None:
    specification = read_specification()
    binding = set(specification)

    marks = {unique for file in TEST_FILES for unique in marked(file)}

    assert marks == binding, (
        f"without a test: {sorted(binding - marks)}; without a requirement: {sorted(marks - binding)}"
    )


def test_a_requirement_is_judged_in_the_run_in_which_its_tests_are() -> None:
    with_servers = {unique for unique, one in read_specification().items() if one.has_servers}

    marks = {unique for file in TEST_FILES if file.parent.name == "served" for unique in marked(file)}

    assert marks == with_servers


def test_each_test_names_its_requirement() -> None:
    nameless = [
        f"{file.name}::{test.name}"
        for file in TEST_FILES
        for test in functions_of(file)
        if not re.search(r"\b(requirement|case)\(", " ".join(map(ast.unparse, test.decorator_list)))
    ]

    assert nameless == []


def test_what_a_requirement_needs_is_something_that_an_adapter_can_declare() -> None:
    needs = {each for one in read_specification().values() for each in one.needs}

    known = {*CAPABILITIES, *COMPATIBILITIES, PYTHON_DBT}
    assert needs <= known, f"unknown: {sorted(needs - known)}"


def test_each_capability_is_needed_by_a_requirement() -> None:
    needs = {each for one in read_specification().values() for each in one.needs}

    assert sorted({*CAPABILITIES, *COMPATIBILITIES} - needs) == []


PAGES = re.findall(r"^\| (\w+ page) \| .+ <https://\S+> \|$", SPECIFICATION.read_text(encoding="utf-8"), re.MULTILINE)
"""Names of the pages that have an address."""


def test_each_source_names_a_page_with_an_address_or_a_requirement_or_says_that_it_is_a_decision() -> None:
    known = re.compile("|".join((*PAGES, *read_specification(), "^by decision[,:] ")))
    sources = [(each.id, source) for each in read_specification().values() for source in each.sources]

    assert [(name, source) for name, source in sources if not known.search(source)] == []


def test_each_requirement_quotes_a_page_or_gives_a_reason_or_follows_from_one_that_does() -> None:
    specification = read_specification()

    assert [name for name in specification if not is_founded(name, specification)] == []


def is_founded(name: str, specification: Mapping[str, Requirement], *asked: str) -> bool:
    """Whether a source quotes a page or gives the reason of a decision, or names a requirement whose source does."""
    sources = specification[name].sources
    quotes = any('"' in source and any(page in source for page in PAGES) for source in sources)
    decides = any(re.match(r"by decision[,:] \S", source) for source in sources)
    others = {other for source in sources for other in specification if other in source and other not in (name, *asked)}
    return quotes or decides or any(is_founded(other, specification, name, *asked) for other in others)


def test_each_profile_has_requirements_and_core_needs_no_dag() -> None:
    counts = Counter(one.profile for one in read_specification().values())

    assert counts == {"core": 68, "dags": 64, "seeds": 32, "locks": 21, "watcher": 17, "async": 1, "machines": 6}
    assert next(iter(PROFILES)) == CORE


def test_what_compares_with_one_vendor_alone_binds_nobody_who_does_not_declare_it() -> None:
    rendering = [one for one in read_specification().values() if "Cosmos gives" in one.sentence]

    assert len(rendering) == 8
    assert {one.level for one in rendering} == {Level.BEYOND}
    assert all("renders_as_cosmos_1_15" in one.needs for one in rendering)


def test_the_table_that_users_are_shown_has_as_many_as_there_are() -> None:
    page = SPECIFICATION.parents[1] / "docs" / "how-to" / "conformance.md"
    shown = re.findall(r"^([A-Z]+) +(\d+ of .+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    counts = Counter((one.area, one.level.value) for one in read_specification().values())
    groups = [level.value for level in Level]

    said = {area: [int(each) for each in re.findall(r"\d+ of (\d+)", cells)] for area, cells in shown}

    assert said
    assert said == {area: [counts[area, group] for group in groups] for area in said}


def test_the_numbers_of_a_released_specification_change_with_its_version_alone() -> None:
    specification = read_specification()

    released = Counter(one.level for one in specification.values())

    assert released == {Level.MUST: 83, Level.SHOULD: 86, Level.BEYOND: 40}
    assert {one.since for one in specification.values()} == {"1.0", "1.1", "1.2", SPECIFICATION_VERSION}


def test_the_history_names_each_requirement_that_came_with_a_version() -> None:
    text = SPECIFICATION.read_text(encoding="utf-8")
    history = text[text.index(f"### {SPECIFICATION_VERSION}\n") :]
    new = [one.id for one in read_specification().values() if one.since == SPECIFICATION_VERSION]

    assert [unique for unique in new if not is_named(unique, history)] == []


def is_named(unique: str, text: str) -> bool:
    """Whether an id stands there, by itself or in ``WATCH-001 to -016``."""
    area, number = unique.split("-")
    spans = re.findall(rf"{area}-(\d{{3}}) to -(\d{{3}})", text)
    return unique in text or any(first <= number <= last for first, last in spans)


def test_the_document_has_each_id_once_and_says_of_each_all_that_is_needed() -> None:
    text, specification = SPECIFICATION.read_text(encoding="utf-8"), read_specification()
    heads = re.findall(r"^### ([A-Z]+-\d{3}) \((MUST|SHOULD|BEYOND|withdrawn)\)$", text, re.MULTILINE)
    runs = set(re.findall(r"^- run: (.+)$", text, re.MULTILINE))

    assert len(heads) == len({name for name, _ in heads}) == len(re.findall(r"^### [A-Z]+-", text, re.MULTILINE))
    assert [name for name, level in heads if level != "withdrawn"] == list(specification)
    assert runs == {"with servers"}
    for one in specification.values():
        assert one.sentence, one.id
        assert not re.search(r"(^|\s)- \w", one.sentence), f"{one.id} has a fact of an unknown name"
        assert one.sources, one.id
        assert one.profile in PROFILES, one.id
        assert set(one.depends_on) <= set(specification), one.id
