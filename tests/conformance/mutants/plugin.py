"""All mutants judged in one run: each check of a mutant's area is run once for each mutant.

pytest --cosmos-conformance --cosmos-implementation=cosmos_venv -p mutants.plugin
"""

from __future__ import annotations

import gc
import json
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from pytest_cosmos_venv.conformance.options import BRIEF, GLANCE
from pytest_cosmos_venv.conformance.reporting.verdicts import REQUIREMENT, VERDICT, Verdict
from pytest_cosmos_venv.conformance.requirements import MARK, Level, Requirement
from pytest_cosmos_venv.conformance.session import EXIT_CODE, GAP, SPECIFICATION, named_adapter

from . import catalogue  # noqa: F401 - registers them
from .mutant import MUTANTS, Mutant

NAMES = "MUTANTS"
"""Variable with patterns of the mutants' names, parted by commas; all without it. An option of a plugin that is named
on the command line of the suite would be unknown to the process that starts it."""
TABLE = "MUTANTS_TABLE"
"""Variable with the file that the table is written to, as JSON: name -> what is known of that mutant."""
FULL = "MUTANTS_MEET_ALL"
"""Variable that is set where each mutant meets all requirements and not its own area's alone."""
CAUGHT = "caught"
_OF_DAGS = ("seeds", "watcher", "async")
"""Profiles whose requirements look at DAGs, too."""
_WHOLLY_BEYOND = ("NODE", "REMOTE", "RUN")
"""Areas of what one implementation alone can meet."""
_FOUND = pytest.StashKey[dict[str, dict[str, set[str]]]]()


def chosen(config: pytest.Config) -> list[type[Mutant]]:
    """Return the mutants whose requirement is judged in this run, of those that are asked for."""
    patterns, judged = os.environ.get(NAMES, "*").split(","), config.stash[SPECIFICATION]
    return [
        cls
        for name, cls in MUTANTS.items()
        if cls.kills in judged and any(fnmatchcase(name, pattern) for pattern in patterns)
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test that asks for the implementation gets each mutant."""
    if "adapter" in metafunc.fixturenames and metafunc.definition.path.name != "test_smoke.py":
        mutants = chosen(metafunc.config)
        names = [f"{cls.__module__}:{cls.__qualname__}" for cls in mutants]
        metafunc.parametrize("adapter", names, indirect=True, scope="session", ids=[cls.__name__ for cls in mutants])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A mutant meets its own requirement in all its cases, and one case of each test of the others.

    Others are those of its area that are promised to users. What goes BEYOND is met where all are met.
    """
    met: set[tuple[str, str, str]] = set()
    specification = config.stash[SPECIFICATION]
    items[:] = [item for item in items if _is_met(item, met, specification)]


def pytest_collection_finish() -> None:
    """Thousands of items live to the end: the garbage collector need not look at them again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A mutant that luck may catch gets little time for it; where others than its own may, one case is enough."""
    item.config.option.cosmos_rounds = BRIEF if _beside(item) is None else GLANCE


def _is_met(item: pytest.Item, met: set[tuple[str, str, str]], specification: Mapping[str, Requirement]) -> bool:
    if (pair := _beside(item)) is None:
        return True
    name, requirement = pair
    mutant = MUTANTS[name]
    # The cases of a test count by their requirements: the ten commands have one each.
    case = (name, requirement, item.nodeid.partition("[")[0])
    if case in met:
        return False
    other = specification[requirement]
    shows_dags = {"dags"} if other.profile in _OF_DAGS else set()
    if mutant.needed is not None and mutant.needed not in {*other.needs, other.profile, *shows_dags}:
        return False
    is_promised = other.level is not Level.BEYOND or other.area in _WHOLLY_BEYOND
    is_near = other.area == _area(mutant.kills) and is_promised
    if not is_near and not os.environ.get(FULL):
        return False
    met.add(case)
    return True


def _beside(item: pytest.Item) -> tuple[str, str] | None:
    """A mutant and a requirement that it meets without being to break it; None where it is to, or there is none."""
    mutant, mark = _mutant_of(item), item.get_closest_marker(MARK)
    if mutant is None or mark is None or mark.args[0] == MUTANTS[mutant].kills:
        return None
    return mutant, mark.args[0]


def _mutant_of(item: pytest.Item) -> str | None:
    named = named_adapter(item)
    return named and named.rpartition(":")[2]


def _area(requirement: str) -> str:
    return requirement.partition("-")[0]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Gather what each mutant fails."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    session.config.stash[_FOUND] = found
    session.config.pluginmanager.register(_Gathering(session.config))


class _Gathering:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        requirement, verdict = properties.get(REQUIREMENT), properties.get(VERDICT, report.outcome)
        _, _, parameters = report.nodeid.rpartition("[")
        # As a whole word: the name of one mutant may begin with that of another.
        mutant = next((name for name in parameters.rstrip("]").split("-") if name in MUTANTS), None)
        if requirement is not None and mutant is not None and (report.when == "call" or not report.passed):
            self._config.stash[_FOUND][mutant][str(verdict)].add(str(requirement))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """The run succeeds when each mutant was caught, by the right requirement alone."""
    if getattr(session.config, "workeroutput", None) is None:
        session.exitstatus = 0 if all(row.is_as_it_should_be for row in _rows(session.config)) else 1
        session.config.stash[EXIT_CODE] = int(session.exitstatus)
        session.config.stash[GAP] = None  # of requirements that no mutant was to meet nothing is to be told


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the kill table."""
    terminalreporter.section("mutants")
    rows = _rows(terminalreporter.config)
    for row in rows:
        terminalreporter.line(str(row))
    if file := os.environ.get(TABLE):
        text = json.dumps({row.name: asdict(row) for row in rows}, indent=1, sort_keys=True)
        Path(file).write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Row:
    """The result of one mutant.

    :param kills: the requirement that must catch it.
    :param failed: ids of all that failed among those that it has met.
    """

    name: str
    kills: str
    story: str
    verdict: str
    failed: tuple[str, ...]

    @property
    def is_as_it_should_be(self) -> bool:
        return self.verdict == CAUGHT

    def __str__(self) -> str:
        return f"{self.kills:<10} {self.name:<32} {self.story}  {self.verdict}"


def following_from(root: str, specification: Mapping[str, Requirement]) -> set[str]:
    """Ids of the requirements that depend on one, or on those that do."""
    found: set[str] = {root}
    while more := {name for name, one in specification.items() if found.intersection(one.depends_on)} - found:
        found |= more
    return found - {root}


def _rows(config: pytest.Config) -> list[Row]:
    specification = config.stash[SPECIFICATION]
    rows = []
    for cls in chosen(config):
        found = config.stash[_FOUND][cls.__name__]
        failed = found.get("failed", set())
        # Who meets all requirements may fail others: what he breaks is used elsewhere. That is what the table tells.
        judged = {**found, "failed": failed & {cls.kills}} if os.environ.get(FULL) else found
        rows.append(
            Row(
                name=cls.__name__,
                kills=cls.kills,
                story=" ".join((cls.__doc__ or "").split()),
                verdict=verdict_on(cls.kills, judged, specification),
                failed=tuple(sorted(failed)),
            )
        )
    return rows


def verdict_on(kills: str, found: Mapping[str, set[str]], specification: Mapping[str, Requirement]) -> str:
    """The last words of a mutant's line.

    :param found: what its tests came to -> ids of their requirements.
    """
    failed, broken = found.get("failed", set()), found.get(Verdict.HARNESS_ERROR.value)
    others = failed - following_from(kills, specification) - {kills}
    if broken:
        return f"HARNESS ERROR {', '.join(sorted(broken))}"
    if kills not in failed:
        return "NOT CAUGHT"
    return f"ALSO {', '.join(sorted(others))}" if others else CAUGHT
