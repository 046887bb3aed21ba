"""What decides the answer of ``dbt ls``: the content of the project's files, and the variables that they ask for."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from cosmos_venv.dbt.env_vars import EnvVars, MadeUpName, env_vars_in
from cosmos_venv.dbt.kept_files import KeptFiles
from cosmos_venv.limits import MEBIBYTE, Limit, read_file, walk
from cosmos_venv.project.file_digest import SETTLED_SECONDS

# What dbt reads of a project; anything else, a database that lies there for instance, may change as it likes.
_READ = (".sql", ".py", ".yml", ".yaml", ".md")
# Of these dbt ls says only that they are there: no CSV is read while a DAG is parsed.
_NAMED = (".csv",)
_NEVER_READ = {".git", "__pycache__"}
_WRITTEN = {"logs", "target"}  # by dbt, beside dbt_project.yml
NOT_READ = frozenset(_NEVER_READ | _WRITTEN)
"""Folders of the project of which nothing counts."""
_LARGEST = Limit(most=1024 * MEBIBYTE)
_OF_THE_USER = ".user.yml"  # which dbt writes beside profiles.yml the first time


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """:param digest: differs where the project does: 64 hex digits.
    :param variables: the environment variables that the project asks for.
    """

    digest: str
    variables: EnvVars


def fingerprint(project_dir: Path, *, left_out: Collection[str] = (), known: KeptFiles | None = None) -> Fingerprint:
    """Of the project's content, so that it is the same for every checkout of it.

    :param left_out: paths below the project that do not count.
    :param known: where fingerprints of earlier are kept: files that look untouched are not read again.
    """
    files = sorted(_files(project_dir, {*left_out}), key=attrgetter("name"))
    # The times and numbers of files are good for this machine; the digest has nothing of them.
    look = hashlib.sha256(json.dumps([str(project_dir), [file.look for file in files]]).encode()).hexdigest()
    is_settled = max((file.changed for file in files), default=0.0) < time.time() - SETTLED_SECONDS
    if known is not None and is_settled and (content := known.read(look)) is not None:
        with suppress(ValueError, TypeError):  # cut short: it is not there
            digest, names, made_up = json.loads(content)
            variables = EnvVars(frozenset(names), tuple(MadeUpName(*each) for each in made_up))
            return Fingerprint(digest=digest, variables=variables)
    found = _of_content(files)
    if known is not None and is_settled:
        made_up = [[each.file, each.line, each.is_noted] for each in found.variables.made_up]
        known.write(look, json.dumps([found.digest, sorted(found.variables.names), made_up]).encode())
    return found


@dataclass(frozen=True)
class _File:
    name: str
    path: str
    size: int
    times_ns: tuple[int, ...]
    number: int
    is_read: bool

    @property
    def changed(self) -> float:
        return max(self.times_ns, default=0) / 1e9

    @property
    def look(self) -> list[object]:
        return [self.name, self.size, self.times_ns, self.number]


def _of_content(files: list[_File]) -> Fingerprint:
    digest = hashlib.sha256()
    variables = []
    for file in files:
        content = b""
        if file.is_read:
            try:
                content = read_file(file.path, _LARGEST)
            except OSError as error:  # dangling, not ours to read, a named pipe: dbt will say so, if it looks there
                content = b"unreadable"
                if error.errno == errno.EFBIG:  # what it says is not known: it counts as changed when its times do
                    content = repr((file.size, file.times_ns)).encode()
            variables.append(env_vars_in(content, file.name))
        digest.update(f"{file.name}\0{len(content)}\0".encode(errors="surrogateescape"))
        digest.update(content)
    return Fingerprint(digest=digest.hexdigest(), variables=EnvVars.of_all(variables))


def _files(project_dir: Path, left_out: Collection[str]) -> Iterator[_File]:
    for folder, below, names in walk(project_dir):
        inside = os.path.relpath(folder, project_dir)
        prefix = "" if inside == "." else f"{inside}/"
        # A package may hold other projects, each with what dbt has written there.
        not_read = NOT_READ if not prefix else _NEVER_READ | {name for name in below if _is_of_dbt(folder, name)}
        below[:] = [name for name in below if name not in not_read and f"{prefix}{name}" not in left_out]
        for name in names:
            if name == _OF_THE_USER:
                continue
            if name.endswith(_READ):
                try:
                    status = os.stat(f"{folder}/{name}")  # noqa: PTH116 - thousands of them
                except OSError:
                    yield _File(f"{prefix}{name}", f"{folder}/{name}", -1, (), 0, is_read=True)
                else:
                    times = (status.st_mtime_ns, status.st_ctime_ns)
                    yield _File(
                        f"{prefix}{name}", f"{folder}/{name}", status.st_size, times, status.st_ino, is_read=True
                    )
            elif name.endswith(_NAMED):
                yield _File(f"{prefix}{name}", "", 0, (), 0, is_read=False)


def _is_of_dbt(folder: str, name: str) -> bool:
    """Whether dbt has written that folder, and not a user who calls a folder of models so."""
    marks = {"target": "manifest.json", "logs": "dbt.log"}
    return name in marks and os.path.exists(f"{folder}/{name}/{marks[name]}")  # noqa: PTH110 - thousands of them
