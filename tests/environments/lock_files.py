"""Lock files (PEP 751) of wheels that a test has made."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, 64 hex digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def package(wheel: Path, *, at: str = "", sha256: str = "", more: str = "") -> str:
    """The entry of a wheel: ``at`` is the table's key and value for where it lies, by default its path."""
    name, version, *_ = wheel.name.split("-")
    source = f'{{ {at or f"path = {str(wheel)!r}"}, hashes = {{ sha256 = "{sha256 or sha256_of(wheel)}" }} }}'
    return f'[[packages]]\nname = "{name}"\nversion = "{version}"\n{more}\nwheels = [{source}]\n'


def write_lock_file(path: Path, *packages: str, more: str = "") -> Path:
    """A lock file of these entries."""
    path.write_text("\n".join([f'lock-version = "1.0"\ncreated-by = "a test"\n{more}', *packages]), encoding="utf-8")
    return path
