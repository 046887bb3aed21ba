"""What only the Linux kernel grants: being parent to orphans, and dying with one's own parent.

Elsewhere both do nothing: what a killed process leaves behind is then nobody's to find.
"""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, also of one in a session of its own."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel send SIGKILL to this process when its parent ends from now on, however that comes.

    A parent may have ended before: look at ``os.getppid()`` afterwards.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
