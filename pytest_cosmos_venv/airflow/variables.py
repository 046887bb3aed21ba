"""Airflow's Variables in a test: a dictionary in memory, which can fail as Airflow's own store fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pytest_cosmos_venv.errors import RecordDict, ToolkitMisuse


@dataclass(frozen=True, kw_only=True)
class VariableWrite:
    """One change that the code under test has made.

    :param action: ``set`` or ``delete``.
    :param key: the key of the Variable.
    :param value: the text that was set, or None for ``delete``.
    """

    action: Literal["set", "delete"]
    key: str
    value: str | None = None


class VariableStore:
    """The store that Airflow reads and writes in place of its database.

    ``values`` are the texts by key, ``writes`` the changes made through Airflow; ``reads_fail`` and ``writes_fail`` say
    whether there is an outage, ``reads_are_denied`` whether failing reads fail because Airflow denies them.
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = RecordDict(what="Variable")
        self.writes: list[VariableWrite] = []
        self.reads_fail = False
        self.writes_fail = False
        self.reads_are_denied = False

    def read(self, key: str, *, failure: Exception) -> str | None:
        """Return the text of a Variable; None where there is none.

        :param key: the key of the Variable.
        :param failure: raised in an outage.
        """
        if self.reads_fail:
            raise failure
        return self.values.get(key)

    def keys(self, *, failure: Exception) -> list[str]:
        """Return all keys in order.

        :param failure: raised in an outage.
        """
        if self.reads_fail:
            raise failure
        return sorted(self.values)

    def write(self, key: str, value: str, *, failure: Exception) -> None:
        """Set a Variable.

        :param key: the key of the Variable.
        :param value: the text.
        :param failure: raised in an outage.
        """
        if self.writes_fail:
            raise failure
        self.values[key] = str(value)
        self.writes.append(VariableWrite(action="set", key=key, value=str(value)))

    def delete(self, key: str, *, failure: Exception) -> bool:
        """Delete a Variable, and return whether there was one.

        :param key: the key of the Variable.
        :param failure: raised in an outage.
        """
        if self.writes_fail:
            raise failure
        if key not in self.values:
            return False
        del self.values[key]
        self.writes.append(VariableWrite(action="delete", key=key))
        return True


class Variables:
    """The Variables of a test, as texts: JSON is Airflow's to make and to read.

    :param store: the store that Airflow reads and writes.
    """

    def __init__(self, store: VariableStore) -> None:
        self._store = store

    @property
    def values(self) -> Mapping[str, str]:
        """The texts that are there now, by key."""
        return MappingProxyType(self._store.values)

    @property
    def writes(self) -> tuple[VariableWrite, ...]:
        """Every change that was made through Airflow, the earliest first; without failed changes."""
        return tuple(self._store.writes)

    def get(self, key: str, default: str | None = None) -> str | None:
        """The text of a Variable, also in an outage.

        :param key: the key of the Variable.
        :param default: returned where there is none.
        """
        return self._store.values.get(key, default)

    def put(self, key: str, value: str) -> None:
        """Prepare a Variable; not counted among ``writes``.

        :param key: the key of the Variable.
        :param value: the text; ``json.dumps`` makes one for ``deserialize_json=True``.
        """
        self._store.values[key] = value

    def remove(self, key: str) -> None:
        """Take a Variable away; not counted among ``writes``.

        :param key: the key of the Variable.
        :raises ToolkitMisuse: there is none of this key.
        """
        if key not in self._store.values:
            known = ", ".join(sorted(self._store.values)) or "none"
            raise ToolkitMisuse(
                f"cosmos_airflow.variables.remove({key!r}): there is no Variable of this key; there are: {known}."
            )
        del self._store.values[key]

    @contextmanager
    def outage(self, *, reads: bool = True, writes: bool = True, denied: bool = False) -> Iterator[None]:
        """Let Variables fail for the length of the block where Airflow's own store fails.

        On Airflow 2 that is the metadata table (``sqlalchemy.exc.OperationalError``), on Airflow 3 the channel to the
        supervisor (``AirflowRuntimeError``). The rest is up to Airflow: a failed ``Variable.get`` looks like a missing
        Variable, or gives its default; a failed ``Variable.set`` raises. A denied read raises
        ``AirflowSecretsBackendAccessDenied`` with a task SDK from 1.2.2 on.

        :param reads: whether reading fails.
        :param writes: whether setting and deleting fail.
        :param denied: whether reads fail because Airflow 3 denies them; on Airflow 2 they fail as in any outage.
        :raises ToolkitMisuse: ``reads`` and ``writes`` are both false, or ``denied`` is given without ``reads``.
        """
        if not (reads or writes):
            raise ToolkitMisuse(
                "cosmos_airflow.variables.outage(reads=False, writes=False): then nothing fails; leave one out."
            )
        if denied and not reads:
            raise ToolkitMisuse("cosmos_airflow.variables.outage(reads=False, denied=True): only reads are denied.")
        store = self._store
        before = store.reads_fail, store.writes_fail, store.reads_are_denied
        store.reads_fail, store.writes_fail = reads or before[0], writes or before[1]
        store.reads_are_denied = denied or before[2]
        try:
            yield
        finally:
            store.reads_fail, store.writes_fail, store.reads_are_denied = before
