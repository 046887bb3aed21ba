"""A fake ``dbt``: it takes dbt's command line, says what dbt says, does as a test scripted it, and records each call.

The modules of this folder named in ``SHIPPED`` are copied word for word into ``dbt/cli/`` of a wheel or of a fake
environment. So they import the standard library only, for every Python that an environment may have, and each other
relatively.
"""

from __future__ import annotations

from pathlib import Path

from .record import RECORD_VARIABLE as RECORD_VARIABLE

VERIFIED_DBT_VERSIONS = ("1.10", "1.11")
"""The versions of dbt that the fake was compared with."""

SHIPPED = (
    "artifacts.py",
    "call.py",
    "command_line.py",
    "log.py",
    "main.py",
    "node_run.py",
    "packages.py",
    "project.py",
    "record.py",
    "script.py",
    "tables.py",
)
"""The files that are copied."""


def fake_dbt_files(*, strict: bool = False) -> dict[str, str]:
    """Return path below ``site-packages`` -> text, for everything that ``import dbt.cli.main`` needs.

    The ``__init__.py`` of ``dbt`` and ``dbt.adapters`` are among them, so that each file of an environment belongs to
    one distribution and the adapters bring their own folder only.

    :param strict: whether to refuse the commands, options and values that a dbt of this version refuses.
    """
    folder = Path(__file__).parent
    shipped = {f"dbt/cli/{name}": (folder / name).read_text(encoding="utf-8") for name in SHIPPED}
    if strict:
        shipped["dbt/cli/strict"] = "The command line is checked against dbt's own tables.\n"
    return {"dbt/__init__.py": "", "dbt/cli/__init__.py": "", "dbt/adapters/__init__.py": "", **shipped}
