"""What are Airflow's Variables in a test? A dictionary in memory, which can fail as Airflow's own store fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pytest_cosmos_venv.errors import ToolkitMisuse


@dataclass(frozen=True, kw_only=True)
class VariableWrite:
    """One change that the code under test has made.

    :param value: the text that was set, or None for ``delete``.
    """

    action: Literal["set", "delete"]
    key: str
    value: str | None = None


class Variables:
    """The Variables of a test, as texts: JSON is Airflow's to make and to read."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._writes: list[VariableWrite] = []
        self._reads_fail = False
        self._writes_fail = False

    @property
    def values(self) -> Mapping[str, str]:
        """What is there now."""
        return MappingProxyType(self._values)

    @property
    def writes(self) -> tuple[VariableWrite, ...]:
        """Every change that was made through Airflow, the earliest first; those that failed are not among them."""
        return tuple(self._writes)

    def put(self, key: str, value: str) -> None:
        """Prepare a Variable; not counted among ``writes``.

        :raises ToolkitMisuse: when the value is no text: ``json.dumps`` makes one for ``deserialize_json=True``.
        """
        if not isinstance(value, str):
            raise ToolkitMisuse(
                f"cosmos_variables.put({key!r}, {value!r}): Airflow keeps texts; give json.dumps(...) of it."
            )
        self._values[key] = value

    @contextmanager
    def outage(self, *, reads: bool = True, writes: bool = True) -> Iterator[None]:
        """For the length of the block Variables fail where Airflow's own store fails.

        On Airflow 2 that is the metadata table (``sqlalchemy.exc.OperationalError``), on Airflow 3 the channel to the
        supervisor (``AirflowRuntimeError``). What becomes of it is Airflow's: a failed ``Variable.get`` looks like a
        missing Variable, or gives its default; a failed ``Variable.set`` raises.

        :param reads: whether reading fails.
        :param writes: whether setting and deleting fail.
        :raises ToolkitMisuse: when neither is to fail.
        """
        if not (reads or writes):
            raise ToolkitMisuse(
                "cosmos_variables.outage(reads=False, writes=False): then nothing fails; leave one out."
            )
        before = self._reads_fail, self._writes_fail
        self._reads_fail, self._writes_fail = reads or before[0], writes or before[1]
        try:
            yield
        finally:
            self._reads_fail, self._writes_fail = before

    def get(self, key: str, *, failure: Exception) -> str | None:
        """For Airflow: the value, None where there is none; raises ``failure`` in an outage."""
        if self._reads_fail:
            raise failure
        return self._values.get(key)

    def keys(self, *, failure: Exception) -> list[str]:
        """For Airflow: all keys in order."""
        if self._reads_fail:
            raise failure
        return sorted(self._values)

    def write(self, key: str, value: str, *, failure: Exception) -> None:
        """For Airflow: set a Variable."""
        self._refuse_write(failure)
        self._values[key] = str(value)
        self._writes.append(VariableWrite(action="set", key=key, value=str(value)))

    def remove(self, key: str, *, failure: Exception) -> bool:
        """For Airflow: delete a Variable; whether there was one."""
        self._refuse_write(failure)
        if key not in self._values:
            return False
        del self._values[key]
        self._writes.append(VariableWrite(action="delete", key=key))
        return True

    def _refuse_write(self, failure: Exception) -> None:
        if self._writes_fail:
            raise failure
