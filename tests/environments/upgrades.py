"""An index that grows and shrinks, and a task that wants the newest of it: for tests of ``--upgrade``."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.environments.store import Environment, EnvironmentStore
from cosmos_venv.processes.cancellation import Cancellation

HOUR = 3600


def upgraded(index: Path) -> EnvironmentSpec:
    """The newest ``hello`` of the index."""
    return EnvironmentSpec(
        requirements=("hello",),
        pip_install_options=("-U", "--no-index", "--find-links", str(index)),
        interpreter=Interpreter.of(),
    )


def release(index: Path, wheelhouse: Path) -> None:
    """The index offers ``hello`` 2.0 too."""
    shutil.copy(next(wheelhouse.glob("hello-2.0*")), index)


def use(
    directory: Path,
    spec: EnvironmentSpec,
    *,
    upgrade_after: float | None = HOUR,
    warn: Callable[[str], None] | None = None,
) -> Environment:
    """The environment that a task gets; its lease is given up."""
    with open_environment(
        BuildRequest(store=EnvironmentStore(directory), spec=spec, preference="uv", max_tries=0),
        upgrade_after=upgrade_after,
        cancellation=Cancellation(),
        report=print,
        warn=warn,
    ) as environment:
        return environment


def make_old(environment: Environment, *, seconds: float = 2 * HOUR) -> None:
    built_at = datetime.now(tz=timezone.utc) - timedelta(seconds=seconds)
    change_record(environment, built_at=built_at.isoformat(timespec="seconds"))


def change_record(environment: Environment, **changes: Any) -> None:
    """Let the record of a ready environment say something else."""
    record = replace(environment.record, **changes)
    environment.path.with_name(f"{record.digest}.json").write_text(record.to_json())


def make_empty(index: Path) -> None:
    """The index offers nothing any more."""
    shutil.rmtree(index)
    index.mkdir()
