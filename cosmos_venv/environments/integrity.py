"""What is installed in an environment, and whether all of it is there: read from its metadata, without running it."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.environments import credentials

if TYPE_CHECKING:
    from importlib.metadata import Distribution

_RECORDS = "*.dist-info/RECORD"
_ADDRESS = "direct_url.json"
_NOT_AS_PROMISED = (".pyc", ".dist-info/RECORD")


def site_packages(environment: Path) -> list[Path]:
    """The directories that packages are installed into (``lib64`` is a link to ``lib`` or a directory of its own)."""
    found = {path.resolve(): path for path in sorted(environment.glob("lib*/*/site-packages"), reverse=True)}
    return sorted(found.values())


@dataclass(frozen=True, kw_only=True)
class Installed:
    """:param pins: version of each installed distribution.
    :param console_scripts: names of the commands that they bring and that stand in ``bin``.
    """

    pins: dict[str, str]
    console_scripts: list[str]


def distributions_in(environment: Path) -> list[Distribution]:
    """Everything that is installed, with its metadata."""
    from importlib.metadata import distributions

    return list(distributions(path=[str(path) for path in site_packages(environment)]))


def installed(environment: Path) -> Installed:
    """What the metadata says."""
    found = distributions_in(environment)
    commands = {
        entry_point.name
        for each in found
        for entry_point in each.entry_points
        if entry_point.group == "console_scripts"
    }
    return Installed(
        pins=pins_of(found),
        console_scripts=sorted(name for name in commands if (environment / "bin" / name).is_file()),
    )


def pins_of(found: Iterable[Distribution]) -> dict[str, str]:
    """The version of each distribution."""
    return dict(sorted((each.metadata["Name"], each.version) for each in found))


def faults(environment: Path) -> list[str]:
    """Files that a RECORD promises and that are missing or of another size.

    Scripts are apart (installers write them anew, with another size), and so are byte code and the RECORD itself (uv
    adds its own files to it and repeats what the wheel's RECORD said of its size). A file that several
    distributions bring has the size of any one of them: dbt-core, dbt-adapters and each adapter all bring a
    ``dbt/__init__.py``, and the one installed last has overwritten the others'.
    """
    return [fault for folder in site_packages(environment) for fault in faults_in(folder)]


def faults_in(folder: Path) -> list[str]:
    """The same of one directory that packages were installed into, or a wheel was unpacked into."""
    promised = sorted(_promised(folder).items())
    return [fault for name, sizes in promised if (fault := _fault(folder / name, name, sizes))]


def hide_credentials(environment: Path) -> None:
    """Take credentials out of the addresses that installers write down (``direct_url.json``), and correct the RECORDs.

    pip and uv leave out user and password themselves, and write a query as it is.
    """
    for folder in site_packages(environment):
        for file in folder.glob(f"*.dist-info/{_ADDRESS}"):
            text = file.read_text(encoding="utf-8")
            hidden = credentials.remove(text)
            if hidden != text:
                record = file.with_name("RECORD")
                promised = record.read_text(encoding="utf-8")
                name = file.relative_to(folder).as_posix()
                digest = base64.urlsafe_b64encode(hashlib.sha256(hidden.encode()).digest()).rstrip(b"=").decode()
                row = f"{name},sha256={digest},{len(hidden.encode())}"
                _replace(file, hidden)
                _replace(record, re.sub(rf"(?m)^{re.escape(name)},[^\n\r]*", row, promised))


def _replace(file: Path, text: str) -> None:
    """As a new file: the old one may be a link into an installer's cache."""
    file.unlink()
    file.write_text(text, encoding="utf-8", newline="")


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
    except (FileNotFoundError, NotADirectoryError):
        return f"{name} is missing"
    return "" if actual in sizes else f"{name} has {actual} bytes instead of {' or '.join(map(str, sorted(sizes)))}"
