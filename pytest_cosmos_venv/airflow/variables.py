"""What are Airflow's Variables in a test? A dictionary in memory, which can fail as Airflow's own store fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pytest_cosmos_venv.errors import RecordDict, RecordTuple, ToolkitMisuse, require_text


@dataclass(frozen=True, kw_only=True)
class VariableWrite:
    """One change that the code under test has made.

    :param value: the text that was set, or None for ``delete``.
    """

    action: Literal["set", "delete"]
    key: str
    value: str | None = None


class VariableStore:
    """What Airflow reads and writes in its database's stead."""

    def __init__(self) -> None:
        self.values: dict[str, str] = RecordDict(what="Variable")
        self.writes: list[VariableWrite] = []
        self.reads_fail = False
        self.writes_fail = False

    def read(self, key: str, *, failure: Exception) -> str | None:
        """The value, None where there is none; raises ``failure`` in an outage."""
        if self.reads_fail:
            raise failure
        return self.values.get(key)

    def keys(self, *, failure: Exception) -> list[str]:
        """All keys in order."""
        if self.reads_fail:
            raise failure
        return sorted(self.values)

    def write(self, key: str, value: str, *, failure: Exception) -> None:
        """Set a Variable."""
        if self.writes_fail:
            raise failure
        self.values[key] = str(value)
        self.writes.append(VariableWrite(action="set", key=key, value=str(value)))

    def delete(self, key: str, *, failure: Exception) -> bool:
        """Delete a Variable; whether there was one."""
        if self.writes_fail:
            raise failure
        if key not in self.values:
            return False
        del self.values[key]
        self.writes.append(VariableWrite(action="delete", key=key))
        return True


class Variables:
    """The Variables of a test, as texts: JSON is Airflow's to make and to read."""

    def __init__(self, store: VariableStore) -> None:
        self._store = store

    @property
    def values(self) -> Mapping[str, str]:
        """What is there now."""
        return MappingProxyType(self._store.values)

    @property
    def writes(self) -> tuple[VariableWrite, ...]:
        """Every change that was made through Airflow, the earliest first; those that failed are not among them."""
        return RecordTuple(
            self._store.writes,
            of="writes",
            none="the code under test has changed no Variable",
            word=lambda write: f"{write.action} {write.key}",
        )

    def get(self, key: str, default: str | None = None) -> str | None:
        """The text of a Variable, also in an outage.

        :param default: where there is none.
        """
        return self._store.values.get(key, default)

    def put(self, key: str, value: str) -> None:
        """Prepare a Variable; not counted among ``writes``.

        :raises ToolkitMisuse: when the value is no text: ``json.dumps`` makes one for ``deserialize_json=True``.
        """
        require_text(key, "key")
        if not isinstance(value, str):
            raise ToolkitMisuse(
                f"cosmos_variables.put({key!r}, {value!r}): Airflow keeps texts; give json.dumps(...) of it."
            )
        self._store.values[key] = value

    def remove(self, key: str) -> None:
        """Take a Variable away; not counted among ``writes``.

        :raises ToolkitMisuse: when there is none of this key.
        """
        if key not in self._store.values:
            known = ", ".join(sorted(self._store.values)) or "none"
            raise ToolkitMisuse(
                f"cosmos_variables.remove({key!r}): there is no Variable of this key; there are: {known}."
            )
        del self._store.values[key]

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
        store = self._store
        before = store.reads_fail, store.writes_fail
        store.reads_fail, store.writes_fail = reads or before[0], writes or before[1]
        try:
            yield
        finally:
            store.reads_fail, store.writes_fail = before
