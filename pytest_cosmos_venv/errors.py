"""How does the toolkit say that it was used wrongly? In a sentence, without a traceback of its own insides."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import pytest

_TOOLKIT = Path(__file__).parent


# pytest gives the class of its own failures no other public name, and types know it under none.
class ToolkitMisuse(pytest.fail.Exception):  # type: ignore[name-defined, misc]
    """A fixture, a mark or an option of the toolkit was used in a way that cannot work.

    A failure of pytest's own kind, so that a test that raises it ends with the text alone, and an
    ``except Exception`` in the code under test does not swallow it.

    :param message: what was given, and the way out.
    """

    # As pytest has it for its own, whose names it prints before the text in the summary of a run.
    __module__ = "builtins"

    def __init__(self, message: str) -> None:
        super().__init__(message, pytrace=False)

    def __reduce__(self) -> tuple[Callable[[str], ToolkitMisuse], tuple[str]]:
        # Raised in a process of a race or a pool, it has to come back; by its class it would not be found.
        return _misuse, (str(self.msg),)


def _misuse(message: str) -> ToolkitMisuse:
    return ToolkitMisuse(message)


def blamed_line(trace: TracebackType | None, project: Path) -> str | None:
    """The line of the project that called the toolkit last, ``path:number: source``; None where there is none.

    :param project: its folder; environments inside are none of it.
    """
    for frame in reversed(traceback.extract_tb(trace)):
        file = Path(frame.filename)
        if file.is_relative_to(project) and not file.is_relative_to(_TOOLKIT) and "site-packages" not in file.parts:
            return f"{file.relative_to(project)}:{frame.lineno}: {frame.line}"
    return None
