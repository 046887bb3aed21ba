"""What has no entry in the reference."""

from __future__ import annotations

from collections.abc import Sequence


class Undocumented(Exception):
    """Something has no entry. The text has a line for each.

    :param missing: a sentence for each thing.
    """

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__("\n".join(missing))
        self.missing = tuple(missing)


def refuse(missing: Sequence[str]) -> None:
    """Raise ``Undocumented`` unless nothing is missing."""
    if missing:
        raise Undocumented(missing)
