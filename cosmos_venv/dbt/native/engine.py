"""What a dbt can do, as one value: dbt 1 is a Python program, dbt 2 a native one.

Callers ask for the capability that they need. A dbt behind a script of a user counts as dbt 1, as only its first bytes
are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cosmos_venv.dbt.native.program import is_binary


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What one kind of dbt can do; the defaults are those of dbt 1.

    :param name: as the record of an environment has it.
    :param has_python_api: Python can import it, so that it runs in a worker, or is forked from a warm server.
    :param is_known_by_packages: the packages beside it say which release it is.
    :param keeps_parse_file: it reads and writes ``partial_parse.msgpack``.
    :param brings_drivers: the adapters that are installed connect to the database; else it looks for a driver when it
        runs, and downloads one where it finds none.
    :param has_docs_generate: it has this command, which makes an ``index.html``.
    :param fails_without_command: a command that it does not have is an error; else it may end with exit code 0.
    """

    name: str
    has_python_api: bool = True
    is_known_by_packages: bool = True
    keeps_parse_file: bool = True
    brings_drivers: bool = True
    has_docs_generate: bool = True
    fails_without_command: bool = True


PYTHON = Engine(name="python")
"""dbt 1."""

NATIVE = Engine(
    name="native",
    has_python_api=False,
    is_known_by_packages=False,
    keeps_parse_file=False,
    brings_drivers=False,
    has_docs_generate=False,
    fails_without_command=False,
)
"""dbt 2."""


def engine_of(executable: str | Path, *, recorded: str = "") -> Engine:
    """The engine of a dbt; dbt 1 where nothing can be read there.

    :param executable: its path.
    :param recorded: the name of the engine in the record of its environment, which knows a script around dbt 2 too;
        empty where there is none, or one of an earlier release.
    """
    return NATIVE if recorded == NATIVE.name or is_binary(executable) else PYTHON
