"""The program itself: told from a Python script, its database driver found, its command line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

# ELF (Linux), and Mach-O (macOS) in either byte order and for several processors in one file.
MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xca\xfe\xba\xbe")
"""The first bytes of a program."""
LIBRARY_ENDINGS = (".so", ".dylib")
"""How the name of a driver ends, a shared library: on Linux, and on macOS."""
DRIVER_ADVICE = (
    "Where there is no internet, name the driver: adbc_drivers=[PATH OR DISTRIBUTION] of the operator, or "
    "[cosmos_venv] virtualenv_adbc_drivers (docs/how-to/environments/dbt-versions.md tells where to get one)."
)
"""Advice about a database driver that dbt 2 would download. Each message about a missing driver has it."""


def is_native(executable: str | Path, *, recorded: str = "") -> bool:
    """Whether a dbt is dbt 2, a native program: Python cannot import it, and it keeps no parse file.

    A dbt behind a script of a user counts as dbt 1, as only its first bytes are read.

    :param executable: its path; False where nothing can be read there.
    :param recorded: the ``engine`` in the record of its environment, which knows a script around dbt 2 too; empty where
        there is no record.
    """
    if recorded == "native":
        return True
    try:
        with open(executable, "rb") as file:  # noqa: PTH123 - each task comes by here
            return file.read(4) in MAGIC
    except OSError:
        return False


def has_driver(environment: Path) -> bool:
    """Whether a database driver stands in the environment, whichever database it is for.

    :param environment: its folder.
    """
    return any(True for ending in LIBRARY_ENDINGS for _ in (environment / "lib").glob(f"lib*{ending}"))


def dbt_2_command_line(words: Sequence[str]) -> list[str]:
    """A command line for dbt 2, which has ``compile --write-catalog`` in place of ``docs generate``.

    :param words: the command line, with the executable.
    """
    found = next((at for at, pair in enumerate(pairwise(words)) if pair == ("docs", "generate")), None)
    if found is None:
        return list(words)
    return [*words[:found], "compile", "--write-catalog", *words[found + 2 :]]
