"""How does a run of the suite begin and end? Its header, what is left out, and what its exit code means.

Loaded as a plugin into the suite's own pytest process, which reads no conftest.py.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Generator
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import ImplementationError, SuiteExit, find_implementation

from . import SPECIFICATION_VERSION, SUITE_VERSION
from .adapter import Adapter, open_adapter
from .asked import asked_installer, asked_level, known_failures, refuse_wrong_options, wanted_patterns
from .fixtures import IMPLEMENTATION, adapter, adapter_of, bench, evidence, picture, shared_directory
from .gathering import FAILED_SMOKE_CHECKS, REQUIREMENT, SEEN, VERDICT, Gathering
from .installer import InstallerError
from .installer import in_words as installer_in_words
from .installer import prepare as prepare_installer
from .judging import Judgement, Verdict, counts_against, judge
from .known_failures import KnownFailures, KnownFailuresError, write_known_failures
from .pace import Pace
from .report import report, write_report
from .requirements import MARK, Requirement, read_specification
from .terminal import print_judgements

__all__ = ["adapter", "bench", "evidence", "picture", "shared_directory"]

_TOLD = ("level", "profile", "installer", "deadline", "requirement", "known_failures", "strict")
"""Options that a report names."""
_DESELECTED = pytest.StashKey[int]()
_KNOWN = pytest.StashKey[KnownFailures]()
_SPECIFICATION = pytest.StashKey[dict[str, Requirement]]()
_STARTED = pytest.StashKey[datetime]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the process that starts the suite tells it beside the user's options."""
    parser.addoption("--cosmos-set-aside", default="", help=argparse.SUPPRESS)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the implementation before anything is collected.

    :raises pytest.UsageError: when none can be chosen, or an option cannot be obeyed (exit code 4).
    """
    config.stash[FAILED_SMOKE_CHECKS] = []
    config.stash[_DESELECTED] = 0
    config.stash[SEEN] = []
    config.stash[_STARTED] = datetime.now(timezone.utc)
    specification = config.stash[_SPECIFICATION] = read_specification()
    try:
        config.stash[IMPLEMENTATION] = find_implementation(config.getoption("cosmos_implementation"))
        config.stash[_KNOWN] = known_failures(config, specification)
        refuse_wrong_options(config, specification)
        prepare_installer(os.environ, asked_installer(config))
    except (ImplementationError, KnownFailuresError, InstallerError) as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What is judged, with what, and what of the user's configuration has no say."""
    implementation = config.stash[IMPLEMENTATION]
    installer = installer_in_words(asked_installer(config))
    header = [
        f"implementation: {implementation.import_root} {implementation.version}",
        f"environment: Airflow {_airflow_version()}, Python {platform.python_version()}, installer {installer}",
        f"conformance: specification {SPECIFICATION_VERSION}, suite {SUITE_VERSION}",
    ]
    set_aside = config.getoption("cosmos_set_aside")
    return [*header, f"set aside: {set_aside}"] if set_aside else header


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each test knows its requirement; what is not asked for goes, what does not apply is not run."""
    wanted = wanted_patterns(config)
    left_out = [item for item in items if wanted and not _is_wanted(item, wanted)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    known = config.stash[_KNOWN]
    for item in items:
        one, implementation = _requirement_of(item), _adapter_of(item)
        if one is None:
            continue
        item.user_properties.append((REQUIREMENT, one.id))
        missing = [each for each in one.needs if each in implementation.absent]
        if missing:
            _leave_out(item, Verdict.NOT_APPLICABLE, f"{', '.join(missing)}: declared absent")
        elif one.id in implementation.differs:
            _leave_out(item, Verdict.DIFFERS, implementation.differs[one.id])
        elif one.id in known:
            item.add_marker(pytest.mark.xfail(reason=known[one.id].reason, strict=False))


def _adapter_of(item: pytest.Item) -> Adapter:
    """The implementation's; where a plugin has parametrised the tests with names of adapters, that one."""
    callspec: Any = getattr(item, "callspec", None)
    named: str | None = callspec.params.get("adapter") if callspec else None
    return adapter_of(item.config) if named is None else open_adapter(named)


def _leave_out(item: pytest.Item, verdict: Verdict, reason: str) -> None:
    item.user_properties.append((VERDICT, verdict.value))
    item.add_marker(pytest.mark.skip(reason=f"{verdict.value}: {reason}"))


def _requirement_of(item: pytest.Item) -> Requirement | None:
    mark = item.get_closest_marker(MARK)
    return None if mark is None else item.config.stash[_SPECIFICATION][mark.args[0]]


def _is_wanted(item: pytest.Item, wanted: list[str]) -> bool:
    one = _requirement_of(item)
    return one is None or any(fnmatchcase(one.id, pattern) for pattern in wanted)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count what the user's options leave out: a run with gaps is no verdict."""
    if items:
        items[0].config.stash[_DESELECTED] += len(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,  # noqa: ARG001 - pytest hands it over by this name
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """An exception that is no failed assertion is the suite's own fault, not the implementation's."""
    report = yield
    error = call.excinfo
    judged = (AssertionError, pytest.fail.Exception, pytest.skip.Exception)
    if error is not None and report.failed and (call.when != "call" or not error.errisinstance(judged)):
        report.user_properties.append((VERDICT, Verdict.HARNESS_ERROR.value))
    return report


def pytest_sessionstart(session: pytest.Session) -> None:
    """Watch the results from the first on."""
    session.config.pluginmanager.register(Gathering(session))
    session.config.pluginmanager.register(Pace(session.config))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn pytest's exit code into the suite's; a worker of pytest-xdist tells the others what it left out."""
    workeroutput: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if workeroutput is not None:
        workeroutput["cosmos_deselected"] = session.config.stash[_DESELECTED]
        return
    config, found = session.config, judgements(session.config)
    session.exitstatus = suite_exit_code(
        exitstatus,
        smoke_failed=bool(config.stash[FAILED_SMOKE_CHECKS]),
        deselected=config.stash[_DESELECTED],
        failed=any(_counts(config, each) for each in found),
        is_broken=any(each.verdict is Verdict.HARNESS_ERROR for each in found),
    )
    _leave_behind(config, found, exit_code=int(session.exitstatus))


def _leave_behind(config: pytest.Config, found: list[Judgement], *, exit_code: int) -> None:
    """What the options ask for: a report, the list of known failures."""
    if folder := config.getoption("cosmos_report"):
        implementation = config.stash[IMPLEMENTATION]
        written = report(
            found,
            implementation=implementation.import_root,
            named=adapter_of(config).named,
            version=implementation.version,
            airflow=_airflow_version(),
            installer=installer_in_words(asked_installer(config)),
            options={name: config.getoption(f"cosmos_{name}") for name in _TOLD},
            started=config.stash[_STARTED],
            is_complete=exit_code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
            and not config.stash[_DESELECTED]
            and all(each.verdict is not Verdict.NOT_RUN for each in found),
            exit_code=exit_code,
        )
        write_report(Path(folder), written)
    if config.getoption("cosmos_update_known_failures"):
        write_known_failures(Path(config.getoption("cosmos_known_failures")), found, config.stash[_KNOWN])


def judgements(config: pytest.Config) -> list[Judgement]:
    """What the run has come to so far."""
    specification, seen = config.stash[_SPECIFICATION], config.stash[SEEN]
    return judge(specification, seen)


def _counts(config: pytest.Config, judgement: Judgement) -> bool:
    strict = bool(config.getoption("cosmos_strict"))
    return counts_against(judgement, level=asked_level(config), beyond=adapter_of(config).beyond, strict=strict)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Every worker of pytest-xdist deselects the same: count once."""
    config = node.config
    config.stash[_DESELECTED] = max(
        config.stash[_DESELECTED], getattr(node, "workeroutput", {}).get("cosmos_deselected", 0)
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The verdicts, and in words what the exit code says."""
    config = terminalreporter.config
    failed, deselected = config.stash[FAILED_SMOKE_CHECKS], config.stash[_DESELECTED]
    if failed:
        terminalreporter.section("conformance: nothing was judged", red=True)
        terminalreporter.line(
            f"The smoke check {failed[0]} failed, so the environment or the adapter is at fault, not a requirement. "
            f"Repair it and run again (exit code {SuiteExit.SMOKE_FAILED:d})."
        )
        return
    found = judgements(config)
    print_judgements(terminalreporter, found, implementation=adapter_of(config).named)
    if any(each.verdict is Verdict.HARNESS_ERROR for each in found):
        terminalreporter.section("conformance: incomplete", red=True)
        terminalreporter.line(f"The suite itself failed: no verdict (exit code {SuiteExit.INCOMPLETE:d}).")
    elif deselected:
        terminalreporter.section("conformance: incomplete", yellow=True)
        terminalreporter.line(
            f"The given options left out {deselected} check(s): no verdict (exit code {SuiteExit.INCOMPLETE:d})."
        )


def suite_exit_code(
    exitstatus: int, *, smoke_failed: bool, deselected: int, failed: bool = False, is_broken: bool = False
) -> int:
    """The exit code of a run: pytest's own, unless the run says nothing about the implementation.

    :param exitstatus: pytest's.
    :param deselected: how many checks the user's options left out.
    :param failed: whether a requirement failed that counts at the level which was asked for.
    :param is_broken: whether the suite itself failed somewhere.
    """
    if smoke_failed:
        return SuiteExit.SMOKE_FAILED
    if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        return int(exitstatus)
    if failed:
        return int(pytest.ExitCode.TESTS_FAILED)
    if is_broken or deselected or exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        return SuiteExit.INCOMPLETE
    return int(pytest.ExitCode.OK)


def _airflow_version() -> str:
    for distribution in ("apache-airflow", "apache-airflow-core"):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return "not installed"
