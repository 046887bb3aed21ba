"""Who did it? The innermost line outside Python's own library, and the innermost outside everybody's."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from types import FrameType

_OWN = os.path.dirname(__file__)  # noqa: PTH120 - compared with the names of code objects as they are
_STANDARD = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.dirname(os.__file__)})  # noqa: PTH120
_INSTALLED = tuple({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})


def caller() -> str:
    """``library/module.py:12, called from test_mine.py:5``, as far as there are two; files relative to here."""
    frames = [frame for frame in _frames() if not _is_ours_or_pythons(frame)]
    if not frames:
        return "a place that is not known"
    first = frames[0]
    own = next((frame for frame in frames if not frame.f_code.co_filename.startswith(_INSTALLED)), first)
    return _line(first) if own is first else f"{_line(first)}, called from {_line(own)}"


def is_called_from(module: str, function: str = "") -> bool:
    """Is the innermost code outside ours in a file of that name, in a function whose name begins so?"""
    frame = next((frame for frame in _frames() if not frame.f_code.co_filename.startswith(_OWN)), None)
    if frame is None or os.path.basename(frame.f_code.co_filename) != module:  # noqa: PTH119
        return False
    return frame.f_code.co_name.startswith(function)


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_ours_or_pythons(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    if file.startswith(("<", _OWN)):
        return True
    return file.startswith(_STANDARD) and not file.startswith(_INSTALLED)


def _line(frame: FrameType) -> str:
    file = os.path.relpath(frame.f_code.co_filename)
    return f"{frame.f_code.co_filename if file.startswith('..') else file}:{frame.f_lineno}"
