"""Rows of text as a table."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def table_lines(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """Return each row as a line, with the cells of a column below each other.

    :param rows: the rows, which have equally many cells.
    :param right: the indexes of right-aligned columns, such as columns of numbers.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_cell(row[at], width, at in right) for at, width in enumerate(widths)).rstrip() for row in rows]


def _cell(text: str, width: int, is_right: bool) -> str:
    return text.rjust(width) if is_right else text.ljust(width)
