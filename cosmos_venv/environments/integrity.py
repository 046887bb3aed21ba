"""What is installed in an environment, and whether all of it is there: read from its metadata, without running it."""

from __future__ import annotations

import csv
from pathlib import Path

_RECORDS = "*.dist-info/RECORD"
_NOT_AS_PROMISED = (".pyc", ".dist-info/RECORD")


def site_packages(environment: Path) -> list[Path]:
    """The directories that packages are installed into (``lib64`` is a link to ``lib`` or a directory of its own)."""
    found = {path.resolve(): path for path in sorted(environment.glob("lib*/*/site-packages"), reverse=True)}
    return sorted(found.values())


def pins(environment: Path) -> dict[str, str]:
    """Version of each installed distribution."""
    from importlib.metadata import distributions

    paths = [str(path) for path in site_packages(environment)]
    return dict(sorted((found.metadata["Name"], found.version) for found in distributions(path=paths)))


def console_scripts(environment: Path) -> list[str]:
    """Names of the commands that the installed distributions bring and that stand in ``bin``."""
    from importlib.metadata import distributions

    paths = [str(path) for path in site_packages(environment)]
    names = {
        entry_point.name
        for found in distributions(path=paths)
        for entry_point in found.entry_points
        if entry_point.group == "console_scripts"
    }
    return sorted(name for name in names if (environment / "bin" / name).is_file())


def faults(environment: Path) -> list[str]:
    """Files that a RECORD promises and that are missing or of another size.

    Scripts are apart (installers write them anew, with another size), and so are byte code and the RECORD itself (uv
    adds its own files to it and repeats what the wheel's RECORD said of its size). A file that several
    distributions bring has the size of any one of them: dbt-core, dbt-adapters and each adapter all bring a
    ``dbt/__init__.py``, and the one installed last has overwritten the others'.
    """
    return [
        fault
        for folder in site_packages(environment)
        for name, sizes in sorted(_promised(folder).items())
        if (fault := _fault(folder / name, name, sizes))
    ]


def _promised(folder: Path) -> dict[str, set[int]]:
    """Each file that some RECORD names, with the sizes that are given for it."""
    promised: dict[str, set[int]] = {}
    for record in folder.glob(_RECORDS):
        with record.open(encoding="utf-8", newline="") as lines:
            for name, _, size in csv.reader(lines):
                if size and not name.startswith("../") and not name.endswith(_NOT_AS_PROMISED):
                    promised.setdefault(name, set()).add(int(size))
    return promised


def _fault(path: Path, name: str, sizes: set[int]) -> str:
    try:
        actual = path.stat().st_size
    except FileNotFoundError:
        return f"{name} is missing"
    return "" if actual in sizes else f"{name} has {actual} bytes instead of {' or '.join(map(str, sorted(sizes)))}"
