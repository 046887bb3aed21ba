"""SPEC.md and the suite: nothing is required that nobody looks at, and nothing looked at that is not required."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import SPECIFICATION_VERSION
from conformance.adapter import CAPABILITIES
from conformance.requirements import (
    COMPATIBILITIES,
    CORE,
    PROFILES,
    PYTHON_DBT,
    SPECIFICATION,
    Level,
    SpecificationError,
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


def test_each_source_names_a_page_with_an_address_or_a_requirement_or_says_that_it_is_a_decision() -> None:
    pages = re.findall(
        r"^\| (\w+ page) \| .+ <https://\S+> \|$", SPECIFICATION.read_text(encoding="utf-8"), re.MULTILINE
    )
    known = re.compile("|".join((*pages, *read_specification(), "^by decision[,:] ")))
    sources = [(each.id, source) for each in read_specification().values() for source in each.sources]

    assert [(name, source) for name, source in sources if not known.search(source)] == []


def test_each_profile_has_requirements_and_core_needs_no_dag() -> None:
    counts = Counter(one.profile for one in read_specification().values())

    assert counts == {"core": 68, "dags": 56, "seeds": 32, "locks": 21, "watcher": 17, "async": 1, "machines": 6}
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

    assert released == {Level.MUST: 83, Level.SHOULD: 86, Level.BEYOND: 32}
    assert {one.since for one in specification.values()} == {"1.0", "1.1", SPECIFICATION_VERSION}


def test_the_history_names_each_requirement_that_came_with_a_version() -> None:
    text = SPECIFICATION.read_text(encoding="utf-8")
    history = text[text.index("### 1.2\n") :]
    new = [one.id for one in read_specification().values() if one.since == SPECIFICATION_VERSION]

    assert [unique for unique in new if not is_named(unique, history)] == []


def is_named(unique: str, text: str) -> bool:
    """Whether an id stands there, by itself or in ``WATCH-001 to -016``."""
    area, number = unique.split("-")
    spans = re.findall(rf"{area}-(\d{{3}}) to -(\d{{3}})", text)
    return unique in text or any(first <= number <= last for first, last in spans)


def test_the_document_says_its_version() -> None:
    assert f"Specification {SPECIFICATION_VERSION}," in SPECIFICATION.read_text(encoding="utf-8")


DOCUMENT = """
# A specification

### LOCK-001 (MUST)
While a process holds the lock,
no other installs.
- source: Operator page, "ensures that concurrent operators sharing the same virtualenv directory do not
  corrupt it"
- source: Mode page
- needs: `pid_lock_file`, templates

### LOCK-002 (withdrawn)
Said by LOCK-001.

### LOCK-003 (BEYOND)
Nobody waits.
- source: what users expect
- depends on: LOCK-001
- since: 1.1
- profile: locks
- run: with servers

## Another chapter

Text that belongs to nothing.
"""


def test_requirements_are_read_from_the_document() -> None:
    first, third = read_specification(DOCUMENT).values()

    assert (first.id, first.area, first.level) == ("LOCK-001", "LOCK", Level.MUST)
    assert first.sentence == "While a process holds the lock, no other installs."
    assert first.sources[0].endswith('virtualenv directory do not corrupt it"')
    assert (first.sources[1], first.needs) == ("Mode page", ("pid_lock_file", "templates"))
    assert (third.sentence, third.depends_on) == ("Nobody waits.", ("LOCK-001",))
    assert (first.since, third.since) == ("1.0", "1.1")
    assert (first.profile, third.profile) == ("core", "locks")
    assert (first.has_servers, third.has_servers) == (False, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(DOCUMENT.replace("LOCK-003 (", "LOCK-001 ("), "LOCK-001 stands there twice", id="twice"),
        pytest.param(DOCUMENT.replace("Nobody waits.\n", ""), "LOCK-003 has no sentence", id="no-sentence"),
        pytest.param(DOCUMENT.replace("- source: what users expect\n", ""), "LOCK-003 has no source", id="no-source"),
        pytest.param(DOCUMENT.replace("with servers", "at night"), "LOCK-003 has the run at night", id="no-such-run"),
        pytest.param(DOCUMENT.replace("on: LOCK-001", "on: LOCK-009"), "depends on LOCK-009, which", id="no-such-root"),
        pytest.param(DOCUMENT.replace(": locks", ": lock"), "LOCK-003 is of the profile lock: there", id="no-profile"),
        pytest.param(DOCUMENT.replace("LOCK-002", "LOCK-003"), "LOCK-003 stands there twice", id="withdrawn-id-used"),
    ],
)
def test_a_document_that_contradicts_itself_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        read_specification(text)
