"""A file system without links, locks or permissions, as mounted object stores are.

By a process to which the kernel answers as such a file system does (seccomp): few machines have one to mount. What is
asked for, and what becomes of the answer, is real.
"""

from __future__ import annotations

import errno
import json
import platform
import sys

import pytest

# Numbers of system calls, by machine. Each way to ask for the same thing counts.
_CALLS: dict[str, dict[str, list[int]]] = {
    "x86_64": {"symlink": [88, 266], "link": [86, 265], "flock": [73], "chmod": [90, 91, 268, 452]},
    "aarch64": {"symlink": [36], "link": [37], "flock": [32], "chmod": [52, 53, 452]},
}

# Arguments: numbers and answer as JSON, then the command to run so.
_FORBID = """
import ctypes, json, os, sys

class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]

class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(Instruction))]

LOAD_NUMBER, UNLESS_EQUAL_SKIP_ONE, RETURN = 0x20, 0x15, 0x06
ALLOW, ERROR = 0x7FFF0000, 0x00050000
numbers, answer = json.loads(sys.argv[1])
steps = [Instruction(LOAD_NUMBER, 0, 0, 0)]
for number in numbers:
    steps += [Instruction(UNLESS_EQUAL_SKIP_ONE, 0, 1, number), Instruction(RETURN, 0, 0, ERROR | answer)]
steps.append(Instruction(RETURN, 0, 0, ALLOW))
program = Program(len(steps), (Instruction * len(steps))(*steps))
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0):
    sys.exit("no seccomp: " + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def without(call: str, answer: int = errno.EPERM) -> list[str]:
    """The words before a command that is answered so whenever it or what it starts makes that call.

    :param call: symlink, link, flock or chmod.
    """
    numbers = _CALLS.get(platform.machine(), {}) if sys.platform == "linux" else {}
    if not numbers:
        pytest.skip(f"the numbers of system calls on {sys.platform} {platform.machine()} are not in the table here")
    return [sys.executable, "-c", _FORBID, json.dumps([numbers[call], answer])]
