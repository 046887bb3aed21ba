"""The Variables that earlier runs of a scenario have set, and changes of the checksums in them.

The format of a Variable belongs to the implementation. So only checksums in the text are replaced, and only
Variables that a run has set are changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_cosmos_venv.errors import ToolkitMisuse

if TYPE_CHECKING:
    from pytest_cosmos_venv.airflow.variables import Variables


# MD5 has 32 digits, SHA-512 has 128. A JSON key of this form is no checksum.
_DIGEST = re.compile(r'(?<![0-9A-Fa-f])[0-9A-Fa-f]{32,128}(?![0-9A-Fa-f]|"\s*:)')


def holds_checksum(text: str, checksum: str) -> bool:
    """Whether a checksum stands in the text of a Variable, in hexadecimal digits of either case.

    :param text: the text of the Variable.
    :param checksum: the checksum, in hexadecimal digits.
    """
    return checksum.lower() in text.lower()


def with_checksum(text: str, checksum: str) -> str | None:
    """Return the text of a Variable with another checksum; None where the text holds no checksum.

    :param text: the text of the Variable.
    :param checksum: the new checksum, in hexadecimal digits.
    """
    if not _DIGEST.search(text):
        return None
    return _DIGEST.sub(lambda found: checksum.upper() if found[0].isupper() else checksum, text)


def damaged(text: str) -> str:
    """Return the first half of a text, as after an interrupted write.

    :param text: the text of a Variable.
    """
    return text[: len(text) // 2]


class RememberedVariables:
    """The Variables that runs of a scenario have set.

    :param variables: Airflow's Variables, in memory.
    """

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self._keys: set[str] = set()

    @property
    def values(self) -> Mapping[str, str]:
        """Key -> text of each Variable that still exists."""
        return {key: value for key, value in self._variables.values.items() if key in self._keys}

    @contextmanager
    def recorded(self) -> Iterator[dict[str, str]]:
        """Yield a dictionary that holds the Variables set within the block after the block has ended.

        Use it for runs, not for building a DAG: caches of dbt ls may be Variables too.
        """
        before = len(self._variables.writes)
        written: dict[str, str] = {}
        try:
            yield written
        finally:
            new = [write for write in self._variables.writes[before:] if write.value is not None]
            written.update({write.key: write.value for write in new if write.value is not None})
            self._keys |= written.keys()

    def replace_checksums(self, checksum: str) -> None:
        """Replace the checksums in all these Variables, as ``SeedScenario.remember`` describes.

        :param checksum: the checksum, in hexadecimal digits.
        """
        values = {key: with_checksum(value, checksum) for key, value in self._known("remember").items()}
        if None in values.values():
            raise ToolkitMisuse(
                f"remember({checksum!r}): no checksum is to be recognised in what the run has stored: "
                f"{dict(self.values)}. Rewrite it with .variables.put(key, text)."
            )
        self._rewrite(lambda key, _: str(values[key]))

    def damage(self, text: str | None) -> None:
        """Damage all these Variables, as ``SeedScenario.corrupt_variable`` describes.

        :param text: the new text of each Variable; None: each text is cut in half.
        """
        self._known("corrupt_variable")
        self._rewrite(lambda _, value: damaged(value) if text is None else text)

    def forget(self) -> None:
        """Delete all these Variables, as ``SeedScenario.forget`` describes."""
        for key in self._known("forget"):
            self._variables.remove(key)

    def _known(self, asked: str) -> Mapping[str, str]:
        if not self.values:
            raise ToolkitMisuse(f"{asked}: no run has set a Variable yet; run() first, with a behavior that remembers.")
        return self.values

    def _rewrite(self, change: Callable[[str, str], str]) -> None:
        for key, value in self.values.items():
            self._variables.put(key, change(key, value))
