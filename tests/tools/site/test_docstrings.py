"""Docstrings are read as they are written here."""

from __future__ import annotations

from tools.site.docstrings import Docstring, read_docstring


def moor(ship: str, *lines: str) -> int:
    """Moor a ship, as ``pier`` says.

    :param ship: its name,
        in full.
    :param *lines: of the ship.
    :returns: how many lines
        hold.
    :raises ValueError: there is no :class:`~harbor.Pier`.
    """
    return len(ship) + len(lines)


class Pier:
    """A pier.

    :ivar length, width: in metres.
    """


class Quay(Pier):
    pass


def test_each_field_is_read_with_the_lines_that_continue_it() -> None:
    assert read_docstring(moor) == Docstring(
        text="Moor a ship, as `pier` says.",
        parameters={"ship": "its name, in full.", "lines": "of the ship."},
        returns="how many lines hold.",
        raises={"ValueError": "there is no `harbor.Pier`."},
    )


def test_one_field_may_be_of_several_names() -> None:
    assert read_docstring(Pier).attributes == {"length": "in metres.", "width": "in metres."}


def test_a_class_has_no_docstring_of_its_base() -> None:
    assert read_docstring(Quay) == Docstring(text="")
