"""The output of dbt 2, its log file and its run results, where they differ from dbt 1."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cosmos_venv.dbt.native.program import DRIVER_ADVICE

NOTHING_RAN = "Compilation Error"
"""The message of every node in the run results where the project could not be compiled. The log has the reason."""

NO_REASON = frozenset({"", "Error", "Fail", "Warn"})
"""Messages without a reason, such as those of a test that found rows."""

LEAVES = {"source": "sources.json"}
"""The file that a command must have left, by the first word of the command.

Its output does not suffice: a log level may hide the warning that dbt lacks the command.
"""

# The log file is text. The lines of an error follow it, up to the next line with a time.
_LOGGED_ERROR = re.compile(
    r"^\d\d:\d\d:\d\d\.\d+ \[error\]: (?P<said>.*(?:\n(?!\d\d:\d\d:\d\d\.\d+ \[|={10}).*)*)", re.MULTILINE
)
_STACK = re.compile(r"^ +(\d+: (<unknown>|start_thread|clone3?)|at \./(nptl|\.\./sysdeps)/\S+)$")
_CODE = re.compile(r"^\[error\] (\[\w+ \(dbt\d+\)\]: )?")
_NO_DRIVER = re.compile(r"Failed to load `(\w+)` driver from name, then failed")
# Two warnings: dbt has its own warning for `docs generate`, and one for each other command that it lacks.
_UNHANDLED = re.compile(
    r'\(dbt9002\)\]: (Unhandled command: [^"]+)'
    r'|\(dbt1705\)\]: (`dbt docs generate` is not supported.*?)(?:\. To |"|$)'
)


def logged_errors(lines: Sequence[str]) -> list[str]:
    """The errors of a log file, each with the lines below it.

    :param lines: of the log file.
    """
    text = "\n".join(line for line in lines if not is_stack(line))
    return [match["said"].strip() for match in _LOGGED_ERROR.finditer(text)]


def advice(said: str) -> str:
    """Advice about a database driver that was neither found nor downloaded; empty for any other error.

    :param said: the errors of the log.
    """
    found = _NO_DRIVER.search(said)
    if found is None:
        return ""
    return (
        f"dbt 2 needs a database driver for {found.group(1)}, has found none and could not download one. "
        f"{DRIVER_ADVICE}"
    )


def is_stack(line: str) -> bool:
    """Whether a line is of the stack of dbt's own code, which says nothing to a user.

    :param line: of the output or log.
    """
    return _STACK.match(line) is not None


def without_stack(text: str) -> str:
    """The text without the lines of the stack of dbt's own code.

    :param text: one message of the output or log.
    """
    if "\n" not in text:
        return "" if is_stack(text) else text
    return "\n".join(line for line in text.split("\n") if not is_stack(line)).rstrip("\n")


def without_code(line: str) -> str:
    """The line without the level and the number of an error before it: ``[error] [DbDriverFailed (dbt1308)]: ``.

    :param line: of the output.
    """
    return _CODE.sub("", line)


def unhandled_command(lines: Sequence[str]) -> str | None:
    """The warning of a dbt that knows a command and does not support it; None without such a warning.

    Such a dbt does nothing and ends with exit code 0. A native dbt is not given ``docs generate``
    (``dbt_2_command_line``). A native dbt behind a script is given it, since only the script is seen.

    :param lines: everything that dbt wrote.
    """
    found = (_UNHANDLED.search(line) for line in lines)
    return next((match.group(1) or match.group(2) for match in found if match), None)


def undone(command: Sequence[str], lines: Sequence[str], *, lacks: str | None = None) -> str | None:
    """The message for a dbt that has ended with exit code 0 and done nothing; None where it has done something.

    :param command: its sub-command, such as ``("source", "freshness")``.
    :param lines: everything that it wrote.
    :param lacks: the file of ``LEAVES`` that is missing; None: it is there, or no file is required.
    """
    why = unhandled_command(lines) or (f"it has left no {lacks}" if lacks else None)
    return why and (
        f"dbt command failed. This dbt does not have the command {' '.join(command)} and has done nothing: {why}. Run "
        "it with dbt 1."
    )
