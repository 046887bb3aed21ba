"""Types of factories that fixtures return, helpers of several test files, and the profile of the small project."""

from __future__ import annotations

import json
import pickle
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cosmos_venv.config import ProfileConfig
from cosmos_venv.environments.maintenance.pruner import PruneLimits
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter, Library
from cosmos_venv.environments.store import Environment
from pytest_cosmos_venv import DbtCall

if TYPE_CHECKING:  # the operators would import Airflow in tests that run without it
    from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator

DbtCalls = Callable[[], list[DbtCall]]
AreGone = Callable[[Sequence[int]], bool]
SetAge = Callable[[Path, float], None]
SetUmask = Callable[[int], object]
WaitUntil = Callable[[Callable[[], object]], None]
WaitForBackend = Callable[[], int]


def as_words(spec: EnvironmentSpec) -> str:
    """A spec as a word of a command line, for ``pickle.loads(bytes.fromhex(word))``."""
    return pickle.dumps(spec).hex()


class MakeSpec(Protocol):
    """Make a spec of requirements, by default ``hello``, that are installed from the wheelhouse of the tests."""

    def __call__(
        self,
        *requirements: str,
        options: tuple[str, ...] = (),
        interpreter: Interpreter | None = None,
        system_site_packages: bool = False,
        check: str = "",
        libraries: tuple[Library, ...] = (),
    ) -> EnvironmentSpec: ...


class MakeReady(Protocol):
    """Build or find the environment of a spec in a store, and release its lease.

    ``lines`` gets the reported lines; ``limits`` prune the store.
    """

    def __call__(
        self,
        directory: Path,
        spec: EnvironmentSpec,
        *,
        preference: str = "uv",
        lines: list[str] | None = None,
        limits: PruneLimits | None = None,
    ) -> Environment: ...


class StartPython(Protocol):
    """Start a process that runs a Python source; ``within`` stands before its command."""

    def __call__(self, source: str, *arguments: object, within: Sequence[str] = ()) -> subprocess.Popen[str]: ...


class OutputOf(Protocol):
    """Run a command, which must succeed, and return what it writes."""

    def __call__(self, command: object, *arguments: str) -> str: ...


class MakeOperator(Protocol):
    """Make an operator that runs the fake dbt in a kept environment."""

    def __call__(self, **arguments: Any) -> DbtRunVirtualenvOperator: ...


class MakeTask(Protocol):
    """Make a local operator of a class, or of the distinctive part of its name, such as ``Run``."""

    def __call__(self, of: Any = ..., **arguments: Any) -> Any: ...


def written_manifest(project: Path) -> Path:
    """Write ``target/manifest.json`` as ``dbt parse`` does, without a dbt, and return its path.

    :param project: folder of a dbt project.
    """
    from pytest_cosmos_venv.fake_dbt.artifacts import Artifacts
    from pytest_cosmos_venv.fake_dbt.command_line import Invocation
    from pytest_cosmos_venv.fake_dbt.log import Log
    from pytest_cosmos_venv.fake_dbt.project import read_project

    invocation = Invocation(["parse"])
    read = read_project(project, (), invocation)
    log = Log(invocation, silent=True)
    Artifacts(project / "target", log, "1.11.0", {}, wanted=True).write_manifest(read.name, "duckdb", read.nodes)
    return project / "target" / "manifest.json"


def harbor_profile(project: Path, target: str = "dev") -> ProfileConfig:
    """Return the profile of the small project (``dbt_project``), whose file lies in it."""
    return ProfileConfig("harbor", target, profiles_yml_filepath=project / "profiles.yml")


def operator_arguments(project: Path, **more: Any) -> dict[str, Any]:
    """Return the arguments of an operator on the small project; ``more`` adds or replaces arguments."""
    return {"task_id": "task", "project_dir": project, "profile_config": harbor_profile(project), **more}


def texts_below(folder: Path) -> dict[str, str]:
    """Return relative path -> text of all files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def published_build(virtualenv_dir: Path) -> Path:
    """The folder of the only managed environment in a ``virtualenv_dir``."""
    (record,) = (virtualenv_dir / "envs-v2").glob("*.json")
    return (record.parent / str(json.loads(record.read_text())["build"])).resolve()
