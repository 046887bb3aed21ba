"""``dbt ls`` as a process: for those who wait, and in a process that outlives them.

Nothing here knows Airflow: the process that outlives a parse does not pay for it.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from cosmos_venv import credentials
from cosmos_venv.dbt.command import vars_flags
from cosmos_venv.dbt.invocation import run_dbt
from cosmos_venv.dbt.packages import ProjectPackages, is_pinned
from cosmos_venv.dbt.partial_parse import PARTIAL_PARSE_FILE, ParsedProject
from cosmos_venv.dbt.project_files import (
    LOCK_FILE,
    EnvVars,
    local_package,
    noted_by_dbt,
    read_dbt_project,
    read_package_files,
)
from cosmos_venv.dbt.results import Artifacts, failure_text, may_lack_files
from cosmos_venv.dbt.workspace import Outputs, descriptors_of, downloading_in_place, workspace
from cosmos_venv.exceptions import CommandKilled, CosmosConfigException, CosmosLoadDbtException
from cosmos_venv.processes.guarded_process import Cancellation, started_ahead
from cosmos_venv.processes.scratch import scratch_folder
from cosmos_venv.project.fingerprint import Tree, fingerprint
from cosmos_venv.project.ls_cache import KeptListings
from cosmos_venv.project.ls_question import LsQuestion, makes_up

Report = Callable[[str], None]

DETACHED = f"{__name__}:list_detached"
"""What ``DetachedWork`` calls, with a request that ``as_request`` has made."""

DID_NOTHING = "has ended without a word and has done nothing"
CHANGED = "The project has changed while dbt ls ran, and nobody knows which of the two dbt has read"
_WAITING = "Another process is running dbt ls for the same project; waiting for its answer."
_SHORTEST_AGE = 60.0  # a later parse may begin so many seconds after this one has ended
_LONGEST = 3_600.0  # nobody waits for it any more, and nobody would end it


class OutOfTime(Exception):
    """dbt was ended: nobody has the time to wait for it."""


@dataclass(frozen=True, kw_only=True)
class LsOrder:
    """A question, with what only a dbt that runs needs.

    :param parsed: the parse file to offer dbt; None: dbt parses everything.
    """

    question: LsQuestion
    packages: ProjectPackages = field(repr=False)
    parsed: ParsedProject | None = None


@dataclass(frozen=True, kw_only=True)
class Said:
    """What dbt has said.

    :param lines: what it has written.
    :param is_pinned: whether it would say so tomorrow too: no packages were installed but those that a lock file pins.
    :param noted: names of the environment variables that it has read while it parsed; None: it does not note them.
    :param of_packages: those that the packages which were installed ask for.
    """

    lines: list[str]
    is_pinned: bool
    noted: frozenset[str] | None = None
    of_packages: EnvVars = field(default_factory=EnvVars)

    def names(self) -> frozenset[str]:
        """All variables that are known to have been read."""
        return self.of_packages.names | (self.noted or frozenset())

    def why_not_kept(self, kept: KeptListings) -> str:
        """Why no later parse could take the answer, in words; empty where one can."""
        if not self.is_pinned and kept.max_age is not None and kept.max_age < _SHORTEST_AGE:
            return (
                "no package-lock.yml that fits pins its packages, and [cosmos_venv] packages_max_age is "
                f"{kept.max_age:.0f} s"
            )
        if (unnoted := self.of_packages.unnoted) is not None:
            return makes_up(f"the package file {unnoted}")
        made_up = kept.basis.made_up or next((f"the package file {each}" for each in self.of_packages.made_up), "")
        return (
            f"{makes_up(made_up)}, and this dbt does not note which it reads" if made_up and self.noted is None else ""
        )


def ask_in_turn(
    order: LsOrder,
    kept: KeptListings,
    *,
    profiles_yml: Path,
    report: Report,
    deadline: float | None = None,
    cancellation: Cancellation | None = None,
) -> tuple[list[str], bool]:
    """The lines of ``dbt ls``, and whether another process has asked for them meanwhile.

    Of several processes that ask the same, one starts dbt and the others wait for its answer, which is kept.

    :param deadline: as for ``run_dbt_ls``.
    :raises CosmosLoadDbtException: when dbt fails, with its own last lines.
    :raises CosmosConfigException: when the dbt executable cannot be started.
    """
    with kept.files.turn(kept.basis.digest, wait=None, report=lambda: report(_WAITING)):
        lines = kept.read()
        if lines is None:
            lines = kept.read_elsewhere()
        if lines is not None:
            return lines, True
        said = run_dbt_ls(order, profiles_yml=profiles_yml, report=report, deadline=deadline, cancellation=cancellation)
        if order.question.basis().digest != kept.basis.digest:
            report(f"{CHANGED}; its answer is not kept.")
        elif reason := said.why_not_kept(kept):
            kept.give_up(reason)
        else:
            kept.write(said.lines, is_pinned=said.is_pinned, names=said.names())
        return said.lines, False


def run_dbt_ls(
    order: LsOrder,
    *,
    profiles_yml: Path,
    report: Report,
    deadline: float | None = None,
    cancellation: Cancellation | None = None,
) -> Said:
    """What dbt says now.

    :param profiles_yml: the profile.
    :param deadline: when dbt is ended, as ``time.monotonic()`` tells it; None: never.
    :raises OutOfTime: when it was.
    :raises CommandKilled: when ``cancellation`` was requested.
    :raises CosmosLoadDbtException: when dbt fails, with its own last lines.
    :raises CosmosConfigException: when the dbt executable cannot be started.
    """
    question, parsed = order.question, order.parsed
    project_dir, has_deps = question.project_dir, question.has_deps
    env = {**question.env, **question.secrets}
    cancellation = cancellation or Cancellation()
    with started_ahead(), workspace(project_dir, install_deps=has_deps, parsed=parsed, environment=env) as place:
        flags = ["--project-dir", str(place), "--profiles-dir", str(profiles_yml.parent), *question.profile_flags]
        outputs = Outputs.of(place, question.folders)
        env = outputs.variables(env)
        dbt = _Dbt(question=question, place=place, deadline=deadline, cancellation=cancellation)
        deps = ["deps", *flags, *vars_flags(question.variables)]
        installed = order.packages.installed(
            place,
            install=lambda: dbt.run(deps, downloading_in_place(place, env), outputs.artifacts()),
            cancellation=cancellation,
            report=report,
        )
        with installed if has_deps else nullcontext(()) as keep_open:
            artifacts = outputs.artifacts()
            lines = dbt.run([*question.arguments, *flags], env, artifacts, keep_open)
            of_packages = _asked_by_packages(project_dir, place, env) if has_deps else EnvVars()
        if parsed is not None:
            parsed.keep(artifacts)
        return Said(
            lines=lines,
            is_pinned=not has_deps or is_pinned(project_dir, place / LOCK_FILE),
            noted=_noted(artifacts, place),
            of_packages=of_packages,
        )


def _noted(artifacts: Artifacts, place: Path) -> frozenset[str] | None:
    try:
        content = artifacts.content(PARTIAL_PARSE_FILE)
        if content is None:  # dbt leaves the file that it was offered where nothing has changed
            content = (place / "target" / PARTIAL_PARSE_FILE).read_bytes()
    except OSError:
        return None
    return noted_by_dbt(content)


def _asked_by_packages(project_dir: Path, place: Path, env: Mapping[str, str]) -> EnvVars:
    """What the packages ask for that ``dbt deps`` has installed; local ones are looked at beforehand."""
    folder = place / read_dbt_project(place, environment=env).packages_folder
    packages = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    local = {local_package(base, path) for base in (project_dir, place) for path in read_package_files(place).local}
    trees = (Tree(folder=each, environment=env) for each in packages if Path(os.path.realpath(each)) not in local)
    found = ((tree.folder, fingerprint(tree).variables) for tree in trees)
    return EnvVars.of_all(variables.below(package.name) for package, variables in found)


@dataclass(frozen=True, kw_only=True)
class _Dbt:
    """The dbt of a question, in the folder in which it runs."""

    question: LsQuestion
    place: Path
    deadline: float | None
    cancellation: Cancellation

    def run(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        artifacts: Artifacts,
        keep_open: Sequence[int] = (),
    ) -> list[str]:
        """The lines of one command that has succeeded."""
        executable = self.question.dbt.executable
        try:
            result = run_dbt(
                [executable, *arguments],
                env=env,
                cwd=self.place,
                keep_open=(*self.question.dbt.keep_open, *descriptors_of(self.place), *keep_open),
                on_tick=None if self.deadline is None else self._end_in_time,
                cancellation=self.cancellation,
            )
        except OSError as error:
            if error.filename != executable:  # of the guard, this process or the folder
                raise
            raise CosmosConfigException(
                f"The dbt executable {executable!r} cannot be started: {error.strerror}. Install dbt there, name "
                "another as dbt_executable_path, use ExecutionMode.VIRTUALENV with a virtualenv_dir, or load a "
                "manifest with LoadMode.DBT_MANIFEST, which needs no dbt."
            ) from error
        if result.exit_code:
            reason = credentials.mask(failure_text(artifacts, lines=result.full_output))
            raise CosmosLoadDbtException(f"dbt {arguments[0]} ended with exit code {result.exit_code}.\n{reason}")
        if self.question.dbt.is_managed and may_lack_files(0, artifacts, lines=result.full_output):
            raise CosmosLoadDbtException(f"dbt {arguments[0]} {DID_NOTHING}: {executable}")
        return result.full_output

    def _end_in_time(self) -> None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise OutOfTime


def as_request(order: LsOrder, kept: KeptListings) -> bytes:
    """What a process is told that outlives this one. It holds the environment of dbt, and with it secrets."""
    # Its lease is held by a descriptor that the process inherits.
    dbt = replace(order.question.dbt, environment=None)
    order = replace(order, question=replace(order.question, dbt=dbt))
    return pickle.dumps((order, kept.for_another_process()))


def list_detached(request: bytes, cancellation: Cancellation) -> str:
    """Ask dbt in a process of its own and keep the answer. Returns what went wrong; empty when nothing did.

    :param request: of ``as_request``.
    """
    order, kept = pickle.loads(request)  # noqa: S301 - by a pipe, from this user's process with this very code
    try:
        with scratch_folder("cosmos-venv-profile-") as folder:
            # The one of whoever asked may go before dbt has read it.
            profiles_yml = folder / "profiles.yml"
            profiles_yml.touch(mode=0o600)
            profiles_yml.write_text(order.question.profile, encoding="utf-8")
            _, was_there = ask_in_turn(
                order,
                kept,
                profiles_yml=profiles_yml,
                report=_say,
                deadline=time.monotonic() + _LONGEST,
                cancellation=cancellation,
            )
        return "" if was_there or kept.given_up or kept.version else CHANGED
    except CommandKilled:
        return ""  # whoever ended it may start another at once
    except OutOfTime:
        return f"dbt ls of {order.question.project_dir} did not end within {_LONGEST:.0f} s, and was ended."
    except (CosmosLoadDbtException, CosmosConfigException) as error:
        return _without(order.question.secrets, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, who asked must learn of it
        return _without(order.question.secrets, f"{type(error).__name__}: {error}")


def _without(secrets: Mapping[str, str], text: str) -> str:
    for secret in sorted(map(str, secrets.values()), key=len, reverse=True):
        text = text.replace(secret, "***") if secret else text
    return text


def _say(line: str) -> None:
    print(line, flush=True)
