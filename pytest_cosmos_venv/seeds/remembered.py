"""What do the Variables of earlier runs say, and how is that changed? Only those that a run itself has set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.seeds.stored_values import damaged, with_checksum

if TYPE_CHECKING:
    from pytest_cosmos_venv.airflow.variables import Variables


class Remembered:
    """The Variables that runs of a scenario have set."""

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self._keys: set[str] = set()

    @property
    def values(self) -> Mapping[str, str]:
        """Those that are still there, with what they hold now."""
        return {key: value for key, value in self._variables.values.items() if key in self._keys}

    @contextmanager
    def listening(self) -> Iterator[dict[str, str]]:
        """Fills the dictionary at the end of the block with what was set in it. While a DAG is built nobody listens:
        caches of dbt ls may be Variables too."""
        before = len(self._variables.writes)
        written: dict[str, str] = {}
        try:
            yield written
        finally:
            new = [write for write in self._variables.writes[before:] if write.value is not None]
            written.update({write.key: write.value for write in new if write.value is not None})
            self._keys |= written.keys()

    def replace_checksums(self, checksum: str) -> None:
        """As ``SeedScenario.remember``."""
        values = {key: with_checksum(value, checksum) for key, value in self._known("remember").items()}
        if None in values.values():
            raise ToolkitMisuse(
                f"remember({checksum!r}): no checksum is to be recognised in what the run has stored: "
                f"{dict(self.values)}. Rewrite it with .variables.put(key, text)."
            )
        self._rewrite(lambda key, _: str(values[key]))

    def damage(self, text: str | None) -> None:
        """As ``SeedScenario.corrupt_variable``."""
        self._known("corrupt_variable")
        self._rewrite(lambda _, value: damaged(value) if text is None else text)

    def forget(self) -> None:
        """As ``SeedScenario.forget``."""
        for key in self._known("forget"):
            self._variables.remove(key)

    def _known(self, asked: str) -> Mapping[str, str]:
        if not self.values:
            raise ToolkitMisuse(f"{asked}: no run has set a Variable yet; run() first, with a behavior that remembers.")
        return self.values

    def _rewrite(self, change: Callable[[str, str], str]) -> None:
        for key, value in self.values.items():
            self._variables.put(key, change(key, value))
