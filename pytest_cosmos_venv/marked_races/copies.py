"""The copies of one test in processes that are forked from the one that runs the tests.

Copies part before fixtures of the test's own scope are set up: each sets up and tears down its own, as in a worker. The
process that runs the tests waits for its copies and reports one test. Between them stands a supervisor, which leaves
nothing of what the copies have started.

The standard streams of a copy and its log go into a file of its own, which outlives its death.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.marked_races.mark import INDEX, copy_id
from pytest_cosmos_venv.races.contender import flush
from pytest_cosmos_venv.races.meeting import BarrierNotMet, Ending, Meeting, contender_name
from pytest_cosmos_venv.races.prepared import SupervisorLink
from pytest_cosmos_venv.races.supervisor import Supervisor
from pytest_cosmos_venv.shared_folders import RUN_FOLDER

_LOG_FORMAT = "%(levelname)-8s %(name)s:%(filename)s:%(lineno)d %(message)s"


def run_copies(item: pytest.Function, meeting: Meeting, fixtures: list[str], *, timeout: float) -> list[Ending]:
    """Run the copies of a test; returns how each ended. No process is left, also when this raises.

    :param item: the test, with the fixtures set up that all copies share.
    :param meeting: where the copies meet.
    :param fixtures: names of all fixtures of the test: each copy sets up those that are missing.
    :param timeout: seconds that the copies may take.
    """
    is_captured = item.config.getoption("capture") != "no"
    outputs = [meeting.folder / "output" / contender_name(index) for index in range(meeting.count)]
    flush()  # what is still in the buffers would be written by every child again

    def body(index: int, _ready: int, _start: int) -> None:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if is_captured:
            _lead_output_into(outputs[index])
        meeting.end(index, _Copy(item, meeting, index, timeout).run(fixtures))
        flush()

    own, other = Pipe()
    pid = _fork()
    if pid == 0:
        try:
            own.close()
            os.setsid()  # what the terminal sends to the tests, as for Ctrl-C, is not for this process
            Supervisor(other, meeting, body).run()
        except BaseException:  # noqa: BLE001 - nothing may get back into the process that runs the tests
            traceback.print_exc()
        finally:
            os._exit(0)
    other.close()
    link = SupervisorLink(own, meeting.count)
    end = real_time.monotonic() + timeout
    try:
        while link.running and real_time.monotonic() < end:
            link.listen(0.05)
        how = f"was killed because it had not ended after {timeout:g} s (cosmos_race(…, timeout=…) allows more)"
        for index in link.running:
            meeting.end(index, Ending(outcome="died", how=how))
        link.finish(grace=0.0)
    finally:
        link.close()
        os.waitpid(pid, 0)
        for file in outputs:
            text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
            if text:
                item.add_report_section("call", f"output {file.name}", text)
    return [meeting.ending(index) or Ending(outcome="died", how="was never heard of") for index in range(meeting.count)]


def _lead_output_into(file: Path) -> None:
    """Lead the streams and the log of this process into a file, for good: the process ends with its copy."""
    file.parent.mkdir(exist_ok=True)
    stream = file.open("w", buffering=1, encoding="utf-8", errors="replace")
    for descriptor in (1, 2):
        os.dup2(stream.fileno(), descriptor)
    sys.stdout = sys.stderr = stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(_LOG_FORMAT))
    logging.getLogger().addHandler(handler)


@dataclass
class _Copy:
    """One copy, in a process of its own that ends with it: nothing that is changed here is put back."""

    item: pytest.Function
    meeting: Meeting
    index: int
    timeout: float

    def run(self, fixtures: list[str]) -> Ending:
        """Set up fixtures, run the body and tear the fixtures down, as the test that this copy is in a worker.

        :param fixtures: names of all fixtures of the test.
        :returns: how it ended.
        """
        self._become_that_test()
        self.item.fixturenames = fixtures
        ending = self._ending_of(self.item.setup, phase="in its setup")
        if ending.outcome == "passed":
            ending = self._ending_of(self._body)
        if ending.outcome != "passed":
            self.meeting.end(self.index, ending)  # no other one shall wait while fixtures are torn down
        torn_down = self._ending_of(self._tear_down, phase="in its teardown")
        return torn_down if ending.outcome == "passed" else ending

    def _body(self) -> None:
        self.meeting.wait_for_all("start", self.index, what="the start of the race", timeout=self.timeout)
        self.item.ihook.pytest_pyfunc_call(pyfuncitem=self.item)

    def _tear_down(self) -> None:
        # What the hook of this name calls. Plugins behind that hook have set up nothing here.
        self.item.session._setupstate.teardown_exact(self.item.parent)  # type: ignore[arg-type]

    def _become_that_test(self) -> None:
        """Take the name, the parameter and the folder for temporary files that the copy's test would have."""
        item, count = self.item, self.meeting.count
        parameters: dict[str, Any] = item.callspec.params
        former = copy_id(parameters[INDEX], count)
        own = copy_id(self.index, count)
        item.name = item.name.replace(former, own)
        for name in ("_id", "_nodeid"):  # of pytest from 9.2 on, and before
            given = getattr(item, name, None)
            if given is not None:
                text = str(given).replace(former, own)
                setattr(item, name, text if isinstance(given, str) else type(given).parse(text))
        os.environ["PYTEST_CURRENT_TEST"] = os.environ.get("PYTEST_CURRENT_TEST", "").replace(former, own)
        parameters[INDEX] = self.index
        factory: pytest.TempPathFactory | None = getattr(item.config, "_tmp_path_factory", None)
        if factory is not None:
            base = factory.getbasetemp()
            item.config.stash[RUN_FOLDER] = base.parent if hasattr(item.config, "workerinput") else base
            # Its tmp_path then lies in a folder of its own, as in a worker.
            factory._basetemp = factory.mktemp(own)

    def _ending_of(self, work: Callable[[], None], *, phase: str = "") -> Ending:
        called = pytest.CallInfo.from_call(work, "call")
        if called.excinfo is None:
            return Ending(outcome="passed", how="passed")
        error, where = called.excinfo.value, f" {phase}".rstrip()
        for outcome, how, kind in (
            ("skipped", "was skipped", pytest.skip.Exception),
            ("xfailed", "failed as expected", pytest.xfail.Exception),
            ("exit", "asked pytest to exit", pytest.exit.Exception),
        ):
            if isinstance(error, kind):
                return Ending(outcome=outcome, how=how + where, text=str(error))
        text = str(self.item.repr_failure(called.excinfo))
        is_consequence = isinstance(error, BarrierNotMet)
        return Ending(outcome="failed", how="failed" + where, text=text, is_consequence=is_consequence)


def conclude(meeting: Meeting, endings: list[Ending]) -> None:
    """Let the one test that is reported end as its copies did.

    One that failed makes it fail, else one that passed makes it pass.

    :param meeting: where the copies have met, which names them.
    :param endings: how each copy ended, by index.
    """
    numbered = list(enumerate(endings))
    by_outcome = {ending.outcome: ending for ending in endings}
    failed = [(index, ending) for index, ending in numbered if ending.outcome in {"failed", "died"}]
    if "exit" in by_outcome:
        pytest.exit(by_outcome["exit"].text)
    if failed:
        # Causes first: the others only say that they waited for those.
        failed.sort(key=lambda one: one[1].is_consequence)
        texts = [f"{meeting.who(index)} {ending.how}.\n{ending.text}".rstrip() for index, ending in failed]
        # The first line is all that the summary at the end of the run shows.
        head = f"{meeting.who(failed[0][0])} {failed[0][1].how}; {len(failed)} of {len(endings)} contenders failed."
        pytest.fail(f"{head}\n\n" + "\n\n".join(texts), pytrace=False)
    if "passed" in by_outcome:
        return
    if "xfailed" in by_outcome:
        pytest.xfail(by_outcome["xfailed"].text)
    if "skipped" in by_outcome:
        pytest.skip(by_outcome["skipped"].text)


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of threads, and pytest-xdist has one. The child never waits for a lock of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
