"""The plugin of the suite's own pytest process: how a run begins and ends, which checks it has in which order, and its
exit code.

It is the process's only plugin of the suite; no conftest.py is read. This process is the judge: it imports nothing of
the implementation or its adapter, and no plugin that was not named.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import signal
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv.airflow_release import installed_airflow
from pytest_cosmos_venv.suite import CLOSING_OPTION, SuiteExit

from . import SPECIFICATION_VERSION, SUITE_VERSION, options
from .adapter import AdapterError
from .declaration import Declaration
from .fixtures import ANSWERS, declaration_of, learn_declarations
from .harness.running import TaskTimer
from .options import NATIVE, asked, asked_level, drawn, has_servers, wanted_patterns
from .reporting import verdicts
from .reporting.comparison import Report, version_in_words
from .reporting.known_failures import KnownFailures, Update, update_known_failures
from .reporting.report import remove_report, report, write_report
from .reporting.terminal import print_judgements, print_smoke_failure
from .reporting.verdicts import FAILED_SMOKE_CHECKS, LEVEL, REQUIREMENT, SEEN, SMOKE_FILE, VERDICT, Judgement, Verdict
from .requirements import MARK, NEEDS_MARK, PROFILES, PYTHON_DBT, Level, Requirement, read_specification

pytest_plugins = (f"{__package__}.fixtures", f"{__package__}.harness.sample_project")
_TOLD = (
    *("level", "rounds", "profiles", "spec", "installer", "timeout", "requirement"),
    *("known_failures", "strict", "servers", "seed", "dbt_kind"),
)
"""Options that a report names."""
_ANSWER = "cosmos_declaration"
"""Key in the input of a worker, under which the declarations of the implementation stand."""
_SEED = "cosmos_seed"
"""The same for the seed of the run."""
_CLOSING = pytest.StashKey[int]()
"""The descriptor that the closing record is written to."""
EXIT_CODE = pytest.StashKey[int]()
"""The exit code of the suite."""
GAP = pytest.StashKey["str | None"]()
"""Why the run gives no verdict; None where it gives one, or a plugin has judged something else by the checks."""
_LEFT_OUT = pytest.StashKey[set[str]]()
"""Ids of requirements for which the options leave out some or all tests; and ``SMOKE_FILE`` for a smoke check."""
_REPORT = pytest.StashKey[Report]()
_DIGEST = pytest.StashKey[str]()
"""SHA-256 of the report that was written."""
_OF_THE_OTHER_RUN = pytest.StashKey[list[Requirement]]()
"""The requirements of the other run: with servers, or without."""
_PROFILES = pytest.StashKey[list[str]]()
"""The profiles by which the implementation is judged."""
_JUDGED = pytest.StashKey[list[Judgement]]()
_STARTED = pytest.StashKey[datetime]()
_UPDATE = pytest.StashKey[Update]()
JUDGED = (AssertionError, pytest.fail.Exception)
"""Exceptions of a test that say something about the implementation."""
KNOWN = pytest.StashKey[KnownFailures]()
SPECIFICATION = pytest.StashKey[dict[str, Requirement]]()


def is_broken(found: Sequence[Judgement]) -> bool:
    """Whether the suite itself failed somewhere.

    :param found: the judgements of a run.
    """
    return any(each.verdict is Verdict.HARNESS_ERROR for each in found)


def gap(found: Sequence[Judgement], left_out: set[str], level: Level = Level.MUST) -> str | None:
    """Why a run gives no verdict; None where it gives one.

    :param found: the judgements of a run.
    :param left_out: ids of requirements for which the user's options left out tests; ``SMOKE_FILE`` for a smoke check.
    :param level: the level that was asked for.
    """
    if is_broken(found):
        return "The suite itself failed"
    if count := sum(each.requirement.id in left_out for each in found):
        return f"The given options left out {count} of {len(found)} requirements, whole or in part"
    if left_out:
        return "The given options left out smoke checks"
    # A requirement that cannot be judged on this machine has a result with a reason, so it is no gap.
    if not all(each.seen for each in found):
        return "The run ended before all was judged"
    if not any(each.verdict in verdicts.DECIDED for each in found if verdicts.is_of_level(each, level)):
        return f"No requirement of the level {level.value} was judged: none applies, or all differ on purpose"
    return None


def ending(reason: str, exit_code: int) -> str:
    """The sentence at the end of a run with a gap.

    :param reason: the reason, as ``gap`` gives it.
    :param exit_code: the exit code of the run.
    """
    if exit_code == pytest.ExitCode.TESTS_FAILED:
        return f"{reason}: the rest is unknown, and what was judged fails the run all the same (exit code 1)."
    return f"{reason}: no verdict (exit code {exit_code})."


def suite_exit_code(exitstatus: int, *, smoke_failed: bool, failed: bool = False, has_gap: bool = False) -> int:
    """The exit code of a run: pytest's own, unless the run says nothing about the implementation.

    :param exitstatus: pytest's.
    :param smoke_failed: whether a smoke check failed.
    :param failed: whether a requirement failed that counts at the level which was asked for.
    :param has_gap: whether something was left out or cut off, or the suite itself failed.
    """
    if smoke_failed:
        return SuiteExit.SMOKE_FAILED
    if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        return int(exitstatus)
    if failed:
        return int(pytest.ExitCode.TESTS_FAILED)
    if has_gap or exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        return SuiteExit.INCOMPLETE
    return int(pytest.ExitCode.OK)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that only the process that starts the suite gives.

    :param parser: the parser of the suite's own pytest process.
    """
    parser.addoption("--cosmos-set-aside", default="", help=argparse.SUPPRESS)
    parser.addoption(CLOSING_OPTION, type=int, default=None, help=argparse.SUPPRESS)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the implementation before anything is collected.

    :param config: the configuration of the run.
    :raises pytest.UsageError: when none can be chosen, or an option cannot be obeyed (exit code 4).
    """
    _interrupt_once()
    _hold_closing(config)
    options.draw_seed(config, getattr(config, "workerinput", {}).get(_SEED))
    config.stash[ANSWERS] = {}
    config.stash[FAILED_SMOKE_CHECKS] = []
    config.stash[_LEFT_OUT] = set()
    config.stash[SEEN] = []
    config.stash[_STARTED] = datetime.now(timezone.utc)
    specification = read_specification()
    try:
        config.stash[KNOWN] = options.known_failures(config, specification)
        options.refuse_wrong_options(config)
        os.environ.update(options.installer_variables(asked(config, "installer"), os.environ.get("PATH")))
        workerinput: dict[str, Any] | None = getattr(config, "workerinput", None)
        if workerinput is not None:
            config.stash[ANSWERS][None] = json.loads(workerinput[_ANSWER])
            _say_nothing_to_ps(config)
        elif config.getoption("cosmos_report"):
            # The report of an earlier run must not be taken for the report of this run, wherever this run ends.
            remove_report(Path(config.getoption("cosmos_report")))
        _choose_requirements(config, specification)
    except AdapterError as error:
        raise pytest.UsageError(str(error)) from None


def _choose_requirements(config: pytest.Config, specification: Mapping[str, Requirement]) -> None:
    profiles = options.asked_profiles(config, declaration_of(config).profiles)
    config.stash[_PROFILES] = profiles
    asked = options.asked_versions(config, specification)
    chosen = {name: one for name, one in specification.items() if one.profile in profiles and one.since in asked}
    judged = {name: one for name, one in chosen.items() if one.has_servers is has_servers(config)}
    config.stash[SPECIFICATION] = judged
    config.stash[_OF_THE_OTHER_RUN] = [one for name, one in chosen.items() if name not in judged]
    options.refuse_where_none_is_judged(config, specification, judged.keys())


def _interrupt_once() -> None:
    """Let the first SIGTERM or SIGINT end the run as Ctrl-C does: fixtures end their processes, and the end of the run
    is reported. Ignore further signals, which would cut this short: a supervisor signals each process, and the outer
    process passes its signal on.
    """

    def interrupt(*_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():  # only the main thread may set signal handlers
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, interrupt)


def _hold_closing(config: pytest.Config) -> None:
    """Keep the descriptor of the closing record from all processes that are started."""
    descriptor = config.getoption(CLOSING_OPTION.lstrip("-").replace("-", "_"))
    if descriptor is not None and not hasattr(config, "workerinput"):
        os.set_inheritable(descriptor, False)
        config.stash[_CLOSING] = descriptor


def _say_nothing_to_ps(config: pytest.Config) -> None:
    """Keep a worker of pytest-xdist from naming the check that it runs in its command line, for tasks to read."""
    for plugin in config.pluginmanager.get_plugins():
        if type(plugin).__name__ == "WorkerInteractor":
            names: dict[str, Any] = type(plugin).__init__.__globals__
            names["setproctitle"] = lambda _: None


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    """Let processes that a fixture or a check starts inherit none of pytest's variables, which name the test."""
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]


pytest_pyfunc_call = pytest_fixture_setup


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The header: what is judged, with what, and which part of the user's configuration is set aside.

    :param config: the configuration of the run.
    """
    implementation = declaration_of(config)
    installer = options.installer_in_words(asked(config, "installer"))
    airflow, profiles = installed_airflow() or "not installed", config.stash[_PROFILES]
    header = [
        f"implementation: {implementation.import_root} {implementation.version}",
        f"environment: Airflow {airflow}, Python {platform.python_version()}, installer {installer}",
        f"conformance: specification {version_in_words(SPECIFICATION_VERSION, _told(config))}, suite {SUITE_VERSION}, "
        f"profiles {', '.join(profiles)}, {options.ROUNDS[asked(config, 'rounds')]} rounds",
        f"order and names are drawn: --cosmos-seed={config.getoption('cosmos_seed')} draws them again",
    ]
    if implementation.services:
        header.append(f"stays by design: {', '.join(implementation.services)}")
    set_aside = config.getoption("cosmos_set_aside")
    return [*header, f"set aside: {set_aside}"] if set_aside else header


def _words_on_servers(config: pytest.Config) -> list[str]:
    others = config.stash[_OF_THE_OTHER_RUN]
    if not others:
        return []
    areas = ", ".join(sorted({one.area for one in others}))
    run = "the run without --cosmos-servers" if has_servers(config) else "--cosmos-servers"
    return [f"not in this run: the {len(others)} requirements of {areas}, which {run} judges"]


def _words_on_profiles(config: pytest.Config) -> list[str]:
    judged = config.stash[_PROFILES]
    if others := [name for name in PROFILES if name not in judged]:
        level = asked_level(config).value
        return [f"partial run: judged by {', '.join(judged)} at level {level}; not judged: {', '.join(others)}"]
    return []


def draw_order(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle the checks by the seed of the run. Checks of one adapter stay together; smoke checks keep their order.

    :param config: the configuration of the run.
    :param items: the checks; sorted in place.
    """
    order = drawn(config, "the order of the checks")
    places = {name: order.random() for name in dict.fromkeys(map(named_adapter, items))}
    keys = {item: (True, places[named_adapter(item)], order.random()) for item in items}
    items.sort(key=lambda item: (False, 0.0, 0.0) if item.path.name == SMOKE_FILE else keys[item])


def deselect_unwanted(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the checks that were not asked for.

    :param config: the configuration of the run.
    :param items: all that was collected; changed in place, as pytest asks it of the hook.
    """
    wanted = wanted_patterns(config)
    left_out = [item for item in items if wanted and not _is_wanted(item, wanted)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def tell_requirements(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each check its requirement; mark what does not apply as skipped, and a known failure as expected.

    :param config: the configuration of the run.
    :param items: the checks.
    """
    known, names = config.stash[KNOWN], list(dict.fromkeys(map(named_adapter, items)))
    learn_declarations(config, names)
    declarations = {name: declaration_of(config, name) for name in names}
    for item in items:
        one, implementation = requirement_of(item), declarations[named_adapter(item)]
        if one is None:
            continue
        item.user_properties += [(REQUIREMENT, one.id), (LEVEL, one.level.value)]
        own = [mark.args[0] for mark in item.iter_markers(NEEDS_MARK)]
        with_own = replace(one, needs=(*one.needs, *own))
        if reasons := why_it_does_not_apply(with_own, implementation, kind=asked(config, "dbt_kind")):
            _leave_out(item, Verdict.NOT_APPLICABLE, reasons)
        elif one.id in implementation.differs:
            _leave_out(item, Verdict.DIFFERS, [implementation.differs[one.id]])
        elif one.id in known:
            # Not strict: --cosmos-strict decides whether a known failure that passes fails the run.
            item.add_marker(pytest.mark.xfail(reason=known[one.id].reason, strict=False, raises=JUDGED))


def why_it_does_not_apply(one: Requirement, implementation: Declaration, *, kind: str) -> list[str]:
    """The reasons why a requirement does not apply, one for each missing capability; empty where it applies.

    :param one: the requirement.
    :param implementation: declares which capabilities and compatibilities it has.
    :param kind: the kind of the fake dbt, one of ``DBT_KINDS``.
    """
    declared = {*implementation.has, *implementation.beyond, PYTHON_DBT}
    is_for_another_dbt = kind == NATIVE and PYTHON_DBT in one.needs
    return [
        *(f"{each} is not declared" for each in one.needs if each not in declared),
        *(["the dbt of this run is a native one"] if is_for_another_dbt else []),
    ]


def requirement_of(item: pytest.Item) -> Requirement | None:
    """The requirement that a check judges; None for a smoke check.

    :param item: the check.
    """
    marked = marked_id(item)
    return None if marked is None else item.config.stash[SPECIFICATION][marked]


def marked_id(item: pytest.Item) -> str | None:
    """The id of the requirement that a check judges; None for a smoke check.

    :param item: the check.
    """
    mark = item.get_closest_marker(MARK)
    return None if mark is None else str(mark.args[0])


def named_adapter(item: pytest.Item) -> str | None:
    """The name of the adapter with which a plugin has parametrised the test, as ``--cosmos-implementation`` takes it;
    None where no plugin has.

    :param item: the check.
    """
    callspec: Any = getattr(item, "callspec", None)
    return callspec.params.get("adapter") if callspec else None


def _leave_out(item: pytest.Item, verdict: Verdict, reasons: Sequence[str]) -> None:
    item.user_properties.append((VERDICT, verdict.value))
    item.add_marker(pytest.mark.skip(reason=f"{verdict.value}: {', '.join(reasons)}"))


def _is_wanted(item: pytest.Item, wanted: list[str]) -> bool:
    one = requirement_of(item)
    return one is None or any(fnmatchcase(one.id, pattern) for pattern in wanted)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Order and select the checks after all other plugins, also after those that shuffle.

    :param config: the configuration of the run.
    :param items: all that was collected.
    """
    # The checks of requirements outside the profiles of the run are not in it: they do not count as deselected.
    judged = config.stash[SPECIFICATION]
    items[:] = [item for item in items if (id_ := marked_id(item)) is None or id_ in judged]
    yield
    draw_order(config, items)
    deselect_unwanted(config, items)
    tell_requirements(config, items)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Note what the user's options leave out: a run with gaps is no verdict.

    :param items: the tests that were left out.
    """
    if items:
        ones = map(requirement_of, items)
        items[0].config.stash[_LEFT_OUT] |= {SMOKE_FILE if one is None else one.id for one in ones}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,  # noqa: ARG001 - pytest hands it over by this name
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count an exception that is no failed assertion as a failure of the suite, not of the implementation.

    :param item: the check.
    :param call: one of its phases.
    """
    report = yield
    error = call.excinfo
    if error is not None and report.failed and (call.when != "call" or not error.errisinstance(JUDGED)):
        report.user_properties.append((VERDICT, Verdict.HARNESS_ERROR.value))
    return report


def pytest_sessionstart(session: pytest.Session) -> None:
    """Register the plugins that take the results, before the first result.

    :param session: the session of the run.
    """
    session.config.pluginmanager.register(verdicts.Results(session))
    session.config.pluginmanager.register(TaskTimer(session.config, len(session.config.stash[SPECIFICATION])))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn pytest's exit code into the suite's; a worker of pytest-xdist tells the others what it left out.

    :param session: the session of the run.
    :param exitstatus: pytest's.
    """
    workeroutput: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if workeroutput is not None:
        left_out = session.config.stash[_LEFT_OUT]
        workeroutput["cosmos_left_out"] = sorted(left_out)
        return
    config = session.config
    specification, seen, profiles = config.stash[SPECIFICATION], config.stash[SEEN], config.stash[_PROFILES]
    found = verdicts.judge(specification, seen)
    level, strict, known = asked_level(config), bool(config.getoption("cosmos_strict")), config.stash[KNOWN]
    implementation = declaration_of(config)
    beyond = implementation.beyond
    why = gap(found, config.stash[_LEFT_OUT], level)
    # With --collect-only no verdict is expected, so there is no gap.
    config.stash[GAP] = None if config.option.collectonly else why
    session.exitstatus = suite_exit_code(
        exitstatus,
        smoke_failed=bool(config.stash[FAILED_SMOKE_CHECKS]),
        failed=any(
            verdicts.counts_against(each, level=level, beyond=beyond, strict=strict, known=known) for each in found
        ),
        has_gap=config.stash[GAP] is not None,
    )
    config.stash[EXIT_CODE] = int(session.exitstatus)
    config.stash[_JUDGED] = found
    config.stash[_REPORT] = report(
        found,
        implementation=implementation,
        profiles=profiles,
        installer=options.installer_in_words(asked(config, "installer")),
        options=_told(config),
        started=config.stash[_STARTED],
        is_complete=why is None and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED),
        exit_code=int(session.exitstatus),
    )
    if config.option.tbstyle == "auto":
        # Each failure is reported with its requirement; ``--tb`` shows where in the suite too.
        config.option.tbstyle = "no"
        _leave_out_the_short_summary(config)
    if folder := config.getoption("cosmos_report"):
        first, *_ = write_report(Path(folder), config.stash[_REPORT])
        config.stash[_DIGEST] = hashlib.sha256(first.read_bytes()).hexdigest()
    if config.getoption("cosmos_update_known_failures") and not config.stash[FAILED_SMOKE_CHECKS]:
        was_cut_off = session.shouldstop or session.shouldfail or exitstatus == pytest.ExitCode.INTERRUPTED
        in_part = {*config.stash[SPECIFICATION]} if was_cut_off else config.stash[_LEFT_OUT]
        file = Path(config.getoption("cosmos_known_failures"))
        config.stash[_UPDATE] = update_known_failures(file, found, in_part=in_part)


def _leave_out_the_short_summary(config: pytest.Config) -> None:
    """Keep pytest from printing the message of each failed test once more; in CI it would print it in full."""
    terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        terminal.reportchars = terminal.reportchars.replace("f", "").replace("E", "")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Write the closing record. Without it, the process that has started this process accepts no verdict.

    :param config: the configuration of the run.
    """
    if (descriptor := config.stash.get(_CLOSING, None)) is not None and EXIT_CODE in config.stash:
        record = {"exit_code": config.stash[EXIT_CODE], "report": config.stash.get(_DIGEST, None)}
        os.write(descriptor, json.dumps(record).encode())


def _told(config: pytest.Config) -> dict[str, object]:
    return {name: config.getoption(f"cosmos_{name}") for name in _TOLD}


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist what it has to know before it begins.

    :param node: the worker.
    """
    node.workerinput[_SEED] = node.config.getoption("cosmos_seed")
    node.workerinput[_ANSWER] = json.dumps(node.config.stash[ANSWERS][None])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over the ids of requirements for which a worker of pytest-xdist has left out tests.

    :param node: the worker.
    """
    node.config.stash[_LEFT_OUT] |= set(getattr(node, "workeroutput", {}).get("cosmos_left_out", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the verdicts, the meaning of the exit code, and the place of the report.

    :param terminalreporter: the terminal to write to.
    """
    config = terminalreporter.config
    if failures := config.stash[FAILED_SMOKE_CHECKS]:
        print_smoke_failure(terminalreporter, failures[0])
    else:
        _print_verdicts(terminalreporter)
    if folder := config.getoption("cosmos_report"):
        terminalreporter.line(f"report: {Path(folder, 'report.html')}")


def _print_verdicts(terminalreporter: pytest.TerminalReporter) -> None:
    config = terminalreporter.config
    found, named, known = config.stash[_JUDGED], declaration_of(config).named, config.stash[KNOWN]
    update = config.stash.get(_UPDATE, None)
    written = config.stash[_REPORT]
    told = {**written, "options": {**_told(config), "update_known_failures": update is not None}}
    print_judgements(terminalreporter, found, implementation=named, report=told, known=known)
    for line in [] if config.option.collectonly else [*_words_on_servers(config), *_words_on_profiles(config)]:
        terminalreporter.line(line)
    if update is not None:
        terminalreporter.line(f"{config.getoption('cosmos_known_failures')}: {update}.")
    if reason := config.stash.get(GAP, None):
        terminalreporter.section("conformance: incomplete", red=is_broken(found), yellow=not is_broken(found))
        terminalreporter.line(ending(reason, config.stash[EXIT_CODE]))
