"""The memory of the stand-in: one Variable for each place and seed, with the SHA-256 of the file's bytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.sdk import Variable

from tests.pytest_cosmos_venv.seeds.standin.faults import has

_in_process: dict[str, str] = {}


@dataclass(frozen=True)
class Memory:
    """The memory of one seed in one place."""

    dag_id: str
    group_id: str
    unique_id: str
    load: str

    @property
    def key(self) -> str:
        """The key of the Variable."""
        parts = [self.dag_id, self.group_id, self.unique_id]
        if has("all places share"):
            parts = [self.unique_id]
        if has("the groups of a DAG share"):
            parts = [self.dag_id, self.unique_id]
        if has("equal group ids share"):
            parts = [self.group_id or self.dag_id, self.unique_id]
        if has("the last group id counts"):
            parts = [self.group_id.rpartition(".")[2] or self.dag_id, self.unique_id]
        if has("all seeds share"):
            parts = [self.dag_id, self.group_id]
        if has("each load mode has its own"):
            parts.append(self.load)
        if has("ids are joined"):
            parts = ["__".join(part for part in parts[:2] if part), self.unique_id]
        return f"standin_seed_{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"

    def read(self) -> str | None:
        """The checksum, None where there is none or it cannot be read."""
        if has("it is kept in the process"):
            return _in_process.get(self.key)
        try:
            text = Variable.get(self.key, default=None)
        except Exception:  # Airflow makes "there is none" of most failures; 3.2 and later raise where reading is denied
            if has("a read that is denied is an error"):
                raise
            text = None
        if text is None:
            return _in_process.get(self.key) if has("what is missing comes from a cache") else None
        return _checksum_in(str(text))

    def write(self, checksum: str) -> None:
        """Keep it, if it can be kept."""
        _in_process[self.key] = checksum
        if has("it is kept in the process"):
            return
        try:
            Variable.set(self.key, json.dumps({"algorithm": "sha256", "checksum": checksum}))
        except Exception:
            if has("a write that fails is an error"):
                raise


def checksum_of(file: Path, in_manifest: str | None) -> str | None:
    """Return the checksum of the file as it is now; None where it cannot be read."""
    if has("the manifest's checksum counts"):
        return in_manifest or None
    if has("size and time count"):
        seen = file.stat()
        return f"{seen.st_size}-{seen.st_mtime_ns}"
    if has("a link is no file") and file.is_symlink():
        return None
    try:
        files = sorted(file.parent.glob("*.csv")) if has("the project's seeds share a checksum") else [file]
        content = b"".join(seed.read_bytes() for seed in files)
    except OSError:
        if has("a file that cannot be read is an error"):
            raise
        return "unreadable" if has("a file that cannot be read is unchanged") else None
    if has("an empty file has no checksum") and not content:
        return None
    return hashlib.new("md5" if has("it is MD5") else "sha256", _seen_of(content)).hexdigest()


def _seen_of(content: bytes) -> bytes:
    if has("line endings do not count"):
        content = content.replace(b"\r\n", b"\n")
    if has("a byte order mark does not count"):
        content = content.removeprefix(b"\xef\xbb\xbf")
    return content[: 2**20] if has("the first MiB counts") else content


def _checksum_in(text: str) -> str | None:
    try:
        document: Any = json.loads(text)
        found = document["checksum"]
    except (ValueError, TypeError, KeyError):
        if has("a corrupt value is an error"):
            raise
        found = None
    if has("a corrupt value is unchanged") and not isinstance(found, str):
        return "?"
    return found if isinstance(found, str) else None


def is_unchanged(seen: str | None, now: str | None) -> bool:
    """Whether dbt need not load it."""
    if seen == "?":
        return True
    if (has("once loaded is loaded") or has("any checksum will do")) and seen is not None:
        return True
    return now is not None and seen == now
