"""What decides the answer of ``dbt ls``? The content of the project's files, and the variables that they ask for."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from cosmos_venv.dbt.kept_files import KeptFiles

# What dbt reads of a project; anything else, a database that lies there for instance, may change as it likes.
_READ = (".sql", ".py", ".yml", ".yaml", ".md")
# Of these dbt ls says only that they are there: no CSV is read while a DAG is parsed.
_NAMED = (".csv",)
_NEVER_READ = {".git", "__pycache__", "logs", "target"}
_ENVIRONMENT_VARIABLE = re.compile(rb"""\benv_var\b(?:\s*\(\s*['"]([^'"]+)['"])?""")
_SETTLED_SECONDS = 2.0  # a file may change again within its clock's last tick, and look the same


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """:param digest: differs where the project does: 64 hex digits.
    :param variables: names of the environment variables that the project asks for; None where it makes up a name.
    """

    digest: str
    variables: tuple[str, ...] | None


def fingerprint(project_dir: Path, *, left_out: Collection[str] = (), known: KeptFiles | None = None) -> Fingerprint:
    """Of the project's content, so that it is the same for every checkout of it.

    :param left_out: paths below the project that do not count.
    :param known: where fingerprints of earlier are kept: files that look untouched are not read again.
    """
    files = sorted(_files(project_dir, {*left_out}))
    look = hashlib.sha256(json.dumps([str(project_dir), [file.look for file in files]]).encode()).hexdigest()
    is_settled = max((file.changed for file in files), default=0.0) < time.time() - _SETTLED_SECONDS
    if known is not None and is_settled and (content := known.read(look)) is not None:
        digest, variables = json.loads(content)
        return Fingerprint(digest=digest, variables=None if variables is None else tuple(variables))
    found = _of_content(files)
    if known is not None and is_settled:
        known.write(look, json.dumps([found.digest, found.variables]).encode())
    return found


def variables_named_in(text: str) -> tuple[str, ...] | None:
    """The environment variables that a text with Jinja asks for; None where it makes up a name."""
    return _names(set(_ENVIRONMENT_VARIABLE.findall(text.encode())))


def _names(found: set[bytes]) -> tuple[str, ...] | None:
    return None if b"" in found else tuple(sorted(os.fsdecode(name) for name in found))


@dataclass(frozen=True, order=True)
class _File:
    name: str
    path: str
    size: int
    changed_ns: int
    is_read: bool

    @property
    def changed(self) -> float:
        return self.changed_ns / 1e9 if self.is_read else 0.0

    @property
    def look(self) -> list[object]:
        return [self.name, self.size, self.changed_ns] if self.is_read else [self.name]


def _of_content(files: list[_File]) -> Fingerprint:
    digest = hashlib.sha256()
    variables: set[bytes] = set()
    for file in files:
        content = b""
        if file.is_read:
            try:
                content = Path(file.path).read_bytes()
            except OSError:  # dangling, or not ours to read: dbt will say so
                content = b"unreadable"
            variables.update(_ENVIRONMENT_VARIABLE.findall(content))
        digest.update(f"{file.name}\0{len(content)}\0".encode(errors="surrogateescape"))
        digest.update(content)
    return Fingerprint(digest=digest.hexdigest(), variables=_names(variables))


def _files(project_dir: Path, left_out: Collection[str]) -> Iterator[_File]:
    seen = set()
    for folder, below, names in os.walk(project_dir, followlinks=True):
        inside = os.path.relpath(folder, project_dir)
        prefix = "" if inside == "." else f"{inside}/"
        below[:] = [name for name in below if name not in _NEVER_READ and f"{prefix}{name}" not in left_out]
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back
            below.clear()
            continue
        seen.add(real)
        for name in names:
            if name.endswith(_READ):
                try:
                    status = os.stat(f"{folder}/{name}")  # noqa: PTH116 - thousands of them
                except OSError:
                    yield _File(f"{prefix}{name}", f"{folder}/{name}", -1, 0, is_read=True)
                else:
                    yield _File(f"{prefix}{name}", f"{folder}/{name}", status.st_size, status.st_mtime_ns, is_read=True)
            elif name.endswith(_NAMED):
                yield _File(f"{prefix}{name}", "", 0, 0, is_read=False)
