"""The record of one call of the fake dbt, and the script for it, in the folder that the tests write and read."""

from __future__ import annotations

import json
import os
import select
import stat
import sys
import time
import zlib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .secret_names import NAME_OF_CONNECTION, URL_PASSWORD, URL_USER, is_secret_variable
from .whole_writes import append_line

RECORD_VARIABLE = "COSMOS_DBT_RECORD_DIR"
"""The variable that names the folder in which every call leaves one file of JSON lines, and finds its script."""
FAULTS_FILE = "faults.json"
"""The file beside the script with the test's faults that happen in calls of dbt."""
KEPT_VARIABLES_FILE = "kept-variables.txt"
"""The file beside the script with the names of variables whose values a test wants to see, one a line."""
FOLDER_OF_ENVIRONMENT = "cosmos-dbt"
_STDIN_LIMIT = 65536
_SHORTEST_COPY = 8
"""The shortest secret, in characters, whose copies in other variables are hidden: shorter texts occur there by chance.
"""


def record_folder() -> Path | None:
    """Return the record folder of the environment, else the folder that the variable names; None without both.

    The environment comes first: a wheelhouse sets the variable for a whole test, where a fake environment keeps its own
    folder.
    """
    of_environment = Path(sys.prefix, FOLDER_OF_ENVIRONMENT)
    if of_environment.is_dir():
        return of_environment
    named = os.environ.get(RECORD_VARIABLE)
    return Path(named) if named else None


class Record:
    """The file in which this call is recorded.

    :param folder: the folder of records and of the script.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / f"{time.time_ns()}-{os.getpid()}.jsonl"

    def begin(self, dbt_version: str) -> None:
        """Write the first line, which remains even if this process is killed.

        :param dbt_version: the version that the fake says of itself.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.add(
            "start",
            argv=sys.argv,
            cwd=os.getcwd(),  # noqa: PTH109 - dbt's own view, not resolved
            pid=os.getpid(),
            ppid=os.getppid(),
            prefix=sys.prefix,
            dbt_version=dbt_version,
            stdin=_read_stdin(),
            env=_without_secrets(os.environ, self._text_of(KEPT_VARIABLES_FILE).splitlines()),
        )

    def add(self, event: str, **facts: Any) -> None:
        """Write one line.

        :param event: the name of the event.
        :param **facts: further fields of the line, as JSON can hold them.
        """
        append_line(self._file, {"event": event, "at": time.time(), **facts})

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules that the test has scripted, the first one first."""
        rules: list[dict[str, Any]] = json.loads(self._text_of("script.json") or "[]")
        return rules

    def fault_orders(self) -> dict[str, Any]:
        """Return the fault orders for this call; empty without faults."""
        orders: dict[str, Any] = json.loads(self._text_of(FAULTS_FILE) or "{}")
        return orders

    def _text_of(self, name: str) -> str:
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def count_call(self, calls: str) -> int:
        """Return how many calls of a sort there were, including this one. Two simultaneous calls get different numbers.

        :param calls: a text that stands for the sort of calls.
        """
        words = calls.encode()
        # A long text is cut and gets a checksum, since file names have a limited length.
        name = words.hex()[-180:] + (f"-{zlib.crc32(words):x}" if len(words) > 90 else "")
        number = 1
        while True:
            try:
                os.close(os.open(self.folder / f"met-{name}-{number}", os.O_CREAT | os.O_EXCL, 0o600))
                return number
            except FileExistsError:
                number += 1

    def is_released(self, rule: int) -> bool:
        """Whether the test has let the calls of a rule go on.

        :param rule: the number of the rule, from 0.
        """
        return (self.folder / f"released-{rule}").exists()


def _without_secrets(environment: Mapping[str, str], kept: Iterable[str]) -> dict[str, str | None]:
    """Return name -> value; None in place of a secret or a text with a secret, unless its name matches a pattern."""
    secret = {
        name
        for name, value in environment.items()
        if is_secret_variable(name)
        or NAME_OF_CONNECTION.search(name)
        or URL_PASSWORD.search(value)
        or URL_USER.search(value)
    }
    long = [environment[name] for name in secret if len(environment[name]) >= _SHORTEST_COPY]
    secret |= {name for name, value in environment.items() if any(each in value for each in long)}
    shown = {name for name in secret if any(fnmatchcase(name, pattern) for pattern in kept)}
    return {name: None if name in secret - shown else value for name, value in environment.items()}


def _read_stdin() -> str | None:
    """Return the text of stdin that can be read without waiting; None where stdin is a terminal or closed."""
    try:
        if os.isatty(0):
            return None
        is_device = stat.S_ISCHR(os.fstat(0).st_mode)
    except OSError:  # closed
        return None
    content = b""
    while not is_device and len(content) < _STDIN_LIMIT and select.select([0], [], [], 0)[0]:
        chunk = os.read(0, _STDIN_LIMIT - len(content))
        if not chunk:
            break
        content += chunk
    return content.decode("utf-8", "replace")
