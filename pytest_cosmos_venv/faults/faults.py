"""The value of the fixture ``cosmos_faults``: the faults of one test and their record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.faults import MARK, Fault
from pytest_cosmos_venv.faults.attempts import Attempts
from pytest_cosmos_venv.faults.full_disk import why_no_disk_can_be_full
from pytest_cosmos_venv.faults.ledger import HappenedFault, Ledger
from pytest_cosmos_venv.faults.outages import Outage, SkippedTime, WarehouseAddress, WarehouseProxy

if TYPE_CHECKING:
    from pytest_cosmos_venv.environments.scripted_dbt import ScriptedDbt


@dataclass
class Faults:
    """The faults of a test: the faults of its marks, and the faults that the test adds while it runs."""

    _ledger: Ledger
    _attempts: Attempts
    _skipped: SkippedTime
    _new_folder: Callable[[], Path]
    _skip: Callable[[str], object]
    _proxies: list[WarehouseProxy] = field(default_factory=list)

    @property
    def faults(self) -> Sequence[Fault]:
        """The faults of the marks in their order, then the faults that the test has added."""
        return tuple(self._ledger.faults)

    def add(self, *faults: Fault) -> None:
        """Let faults happen from now on, as if they stood in a mark of the test.

        :param *faults: the faults, such as ``worker_killed(after="ports")``.
        """
        for fault in faults:
            if fault.kind == "disk_full" and (reason := why_no_disk_can_be_full(self._new_folder())):
                self._skip(f"{MARK}: this machine cannot show a full disk ({reason})")
            self._ledger.faults.append(fault)

    @property
    def happened(self) -> list[HappenedFault]:
        """The faults that have happened so far, the earliest first."""
        return self._ledger.happened()

    @property
    def attempts(self) -> Attempts:
        """The object by which faults happen in runs of ``cosmos_airflow.run``."""
        return self._attempts

    def warehouse(self, host: str, port: int) -> WarehouseAddress:
        """Return an address on loopback that leads to a warehouse, and on which ``warehouse_down`` happens.

        :param host: the host of the warehouse.
        :param port: the port of the warehouse.
        """
        outages = [
            Outage(fault=fault, skipped=self._skipped, tell=self._ledger.tell)
            for fault in self.faults
            if fault.kind == "warehouse_down"
        ]
        proxy = WarehouseProxy((host, port), outages)
        self._proxies.append(proxy)
        return proxy.address

    def close(self) -> None:
        """End the proxies."""
        for proxy in self._proxies:
            proxy.close()

    def require_happened(self) -> None:
        """Refuse a test whose fault has not happened as often as its mark says.

        :raises ToolkitMisuse: with the faults that are missing, and with what the test has done.
        """
        happened = self.happened
        missing = [
            (fault, count)
            for fault in self.faults
            if fault.missing(count := sum(1 for each in happened if each.fault is fault))
        ]
        if not missing:
            return
        said = "; ".join(
            f"{fault} has {'never happened' if not count else f'happened {count} of {fault.times} times'}"
            for fault, count in missing
        )
        raise ToolkitMisuse(
            f"{MARK}: {said}. {self._what_was_done()} A test that is to pass without it says is_optional=True."
        )

    def _what_was_done(self) -> str:
        tries = [
            f"{each.key.task_id} (try {each.number}, {each.ended_nodes} dbt nodes)"
            if each.ended_nodes
            else f"{each.key.task_id} (try {each.number})"
            for each in self._ledger.tries
        ]
        if not tries:
            return "No task has run by cosmos_airflow.run."
        return f"The tries were: {', '.join(tries)}."


@contextmanager
def faults_of_a_test(
    faults: Sequence[Fault],
    *,
    new_folder: Callable[[], Path],
    fakes: Callable[[], Sequence[ScriptedDbt]],
    writable: Callable[[], Sequence[Path]],
    skip: Callable[[str], object],
) -> Iterator[Faults]:
    """The faults of a test, for the length of the block.

    :param faults: the faults of its marks.
    :param new_folder: makes an empty folder.
    :param fakes: returns the fake dbts that the test has.
    :param writable: folders that stay writable on a full disk.
    :param skip: skips the test, with a reason.
    """
    with ExitStack() as stack:
        ledger, skipped = Ledger(new_folder(), []), SkippedTime()
        attempts = Attempts(ledger=ledger, fakes=fakes, skipped=skipped, writable=writable)
        found = Faults(_ledger=ledger, _attempts=attempts, _skipped=skipped, _new_folder=new_folder, _skip=skip)
        stack.callback(found.close)
        found.add(*faults)
        yield found
