"""The plan with which ``cosmos-venv render --against`` compares: one that is stored, or that of a git revision."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.read_limits import ANY_SIZE
from cosmos_venv.files.untrusted import parsed
from cosmos_venv.processes.scratch import scratch_folder

if TYPE_CHECKING:
    from cosmos_venv.rendering.model import Plan

_LAST_LINES = 5


def plan_against(against: str, target: Path, options: Sequence[str]) -> Plan:
    """The older plan.

    :param against: a file that ``render --format json`` has written, else a git revision.
    :param target: what is rendered now.
    :param options: of the command, which hold for the revision too.
    :raises CosmosValueError: when there is none, with the reason.
    """
    if Path(against).is_file():
        return _stored(Path(against))
    with scratch_folder() as folder:
        then = _checked_out(against, target, folder)
        stored = folder / "plan.json"
        # In a process of its own: modules beside the DAG file have the same names in both.
        words = [sys.executable, "-m", "cosmos_venv.cli", "render", str(then), *options]
        done = subprocess.run(
            [*words, "--format", "json", "--output", str(stored)],
            cwd=then.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not stored.is_file():
            said = "\n".join(done.stderr.strip().splitlines()[-_LAST_LINES:])
            raise CosmosValueError(
                f"--against {against}: {target} cannot be rendered as it was there. Store the plan there "
                f"(render --format json --output FILE), and give the file.\n{said}"
            )
        return _stored(stored)


def _stored(file: Path) -> Plan:
    from cosmos_venv.rendering.model import Plan

    try:
        return parsed(file.read_bytes(), Plan, ANY_SIZE)
    except (OSError, ValueError) as error:
        raise CosmosValueError(
            f"--against {file} is no plan ({error}). Write one with cosmos-venv render --format json --output FILE."
        ) from error


def _checked_out(revision: str, target: Path, folder: Path) -> Path:
    """The target as a git revision has it, below a folder; the repository is not changed."""
    where = target.resolve()
    top = Path(_git(where.parent, revision, "rev-parse", "--show-toplevel").strip())
    archive = folder / "revision.tar"
    _git(top, revision, "archive", "--format=tar", f"--output={archive}", "--end-of-options", revision)
    files = folder / top.name
    with tarfile.open(archive) as content:
        content.extractall(files, filter="data")
    then = files / where.relative_to(top)
    if not then.exists():
        raise CosmosValueError(
            f"--against {revision}: it has no {where.relative_to(top)}. Give a revision that has it, or a stored plan."
        )
    return then


def _git(folder: Path, revision: str, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise CosmosValueError(f"--against {revision} is no file, and git cannot be started: {error}.") from error
    if done.returncode:
        said = done.stderr.strip() or f"git {words[0]} ended with {done.returncode}"
        raise CosmosValueError(f"--against {revision} is neither the file of a plan nor a git revision of it: {said}")
    return done.stdout
