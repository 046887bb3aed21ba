"""Making an environment in a directory of its own, a kept or a temporary one: created, filled and checked.

By uv, by pip, or by an installer that is handed down. Every tool runs under a guard, so that nothing outlives a build
that was cancelled. No command line shows an address: requirements go into a file that only this user can read, and
which is removed before anything that was installed runs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import site
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

from cosmos_venv import credentials
from cosmos_venv.environments import post_install, requirement_files
from cosmos_venv.environments.installers.installer import (
    ORDER_VARIABLE,
    InstallArguments,
    Installer,
    InstallerPreference,
    choose_installer,
    installer_environment,
)
from cosmos_venv.environments.spec import EnvironmentSpec, parsed_requirement
from cosmos_venv.environments.store import BuildRecord, Environment
from cosmos_venv.exceptions import CosmosValueError, VirtualenvBuildError, VirtualenvError
from cosmos_venv.files import os_errors
from cosmos_venv.files.own_files import is_trusted_path, naming, refuse_noexec, shut_out_others, write_new
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import CompletedCommand, GuardedProcess, run_guarded
from cosmos_venv.processes.scratch import descriptors_of, scratch_folder

_LAST_LINES = 20
_NOT_FOR_OTHERS_TO_WRITE = 0o022  # bits of the umask of an installer
_FACTS = '{"provides": '  # a line of a check, for the record
_WORKER_PACKAGES = "cosmos_venv_worker_packages.pth"
WAY_OUT_OF_AN_OPEN_TMPDIR = "Set TMPDIR to a folder where they cannot, or give this one the sticky bit (chmod +t)."


class ToolLine(str):
    """A line that an installer, or another tool of a build, has written. Most of the hundreds are useless to a user."""

    __slots__ = ()


def build_environment(
    spec: EnvironmentSpec,
    directory: Path,
    installer: Installer,
    *,
    cancellation: Cancellation,
    report: Callable[[str], None],
    on_tick: Callable[[], None] | None = None,
    keep_open: Sequence[int] = (),
    is_durable: bool = False,
) -> BuildRecord:
    """Make an environment in a directory, and return its record.

    :param spec: what it must hold.
    :param directory: does not exist yet or is empty.
    :param installer: the tool that installs.
    :param cancellation: ends the building.
    :param report: gets each line of the tools' output, without credentials, as a ``ToolLine``, and lines of our own.
    :param on_tick: called every second while a tool is at work: uv downloads for minutes without a word.
    :param keep_open: descriptors (leases) that live as long as anything the installer starts.
    :param is_durable: whether it is to survive a power cut.
    :raises VirtualenvBuildError: with the tool's last lines, when a step fails or what was installed does not work;
        or naming files that are missing or of another size.
    :raises CosmosValueError: naming a requirement that a lock file does not hold, or an option that holds a credential.
    :raises CommandKilled: when ``cancellation`` was requested; nothing that was started runs any more.
    """
    began = time.monotonic()
    # What the tools leave goes with the folder: a killed pip leaves all that it has downloaded.
    with scratch_folder("cosmos-venv-build-") as scratch:
        build = _Build(
            spec=spec,
            directory=directory,
            installer=installer,
            scratch=scratch,
            cancellation=cancellation,
            report=report,
            on_tick=on_tick,
            keep_open=(*keep_open, *descriptors_of(scratch)),
        )
        # How a handed-down installer works is not known, so no step of uv and pip is done for it. The environment that
        # it made is checked like any other build.
        if installer.command:
            build.hand_over()
        else:
            build.create()
            build.install()
        # Before publishing: what is published is never changed, and everybody may read it.
        post_install.hide_credentials(directory)
        build.show_worker_packages()
        libraries = post_install.copy_libraries(spec.libraries, directory)
        pins = build.check(is_durable=is_durable)
        if spec.lock_file is not None:
            refuse_stale_lock(spec, pins)
        record = BuildRecord.of(
            spec,
            directory,
            pins,
            installer=installer.name,
            seconds=time.monotonic() - began,
        )
        return replace(record, sources=build.arguments.sources, provides=build.provides, libraries=libraries)


@contextmanager
def temporary_environment(
    spec: EnvironmentSpec,
    *,
    preference: InstallerPreference = "auto",
    cancellation: Cancellation,
    report: Callable[[str], None],
) -> Iterator[Environment]:
    """Make a new environment in a temporary directory, which is gone after the block. Nobody shares it, so there is no
    lock.

    The name of the directory begins with ``cosmos-venv``. The directory is removed on every way out. After a SIGKILL
    the next process that makes such a directory removes it.

    :param spec: what it must hold.
    :param preference: which installer builds it.
    :param cancellation: ends the building.
    :param report: gets lines for the task's log.
    :raises VirtualenvBuildError: when it cannot be built.
    :raises VirtualenvError: when the temporary folder cannot be written, or no program in it can be started.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    installer = choose_installer(preference, spec, os.environ)
    with ExitStack() as opened:
        try:
            with naming(os_errors.temporary_folder()):
                path = opened.enter_context(scratch_folder())
                # A noexec /tmp takes the whole installation and fails each dbt afterwards, with a message that names
                # no mount.
                refuse_noexec(path, parameter="TMPDIR")
        except OSError as error:
            place = error.filename or os_errors.temporary_folder()
            way_out = f"Let user id {os.geteuid()} write to {place}, or set TMPDIR to another folder."
            raise VirtualenvError(
                f"There can be no temporary environment. {os_errors.reason_of(error, way_out)} "
                "Environments that are kept stand in a virtualenv_dir."
            ) from error
        # The guard holds the folder's lease too: after a SIGKILL of the worker nobody sweeps the folder below a dbt
        # that still runs.
        keep_open = descriptors_of(path)
        report(f"Creating a temporary virtualenv {path} with {installer.name} ({installer.reason}).")
        if not is_trusted_path(path):
            report(f"Other users can replace what stands in {path.parent}. {WAY_OUT_OF_AN_OPEN_TMPDIR}")
        record = build_environment(spec, path, installer, cancellation=cancellation, report=report, keep_open=keep_open)
        # In place of a lease: while these descriptors are open, no sweep takes the folder for abandoned.
        yield Environment(path=path, record=record, was_built=True, is_temporary=True, held_by=keep_open)


@dataclass(frozen=True, kw_only=True)
class _Build:
    spec: EnvironmentSpec
    directory: Path
    installer: Installer
    scratch: Path
    cancellation: Cancellation
    report: Callable[[str], None]
    on_tick: Callable[[], None] | None
    keep_open: tuple[int, ...]
    provides: dict[str, str] = field(default_factory=dict)

    @property
    def python(self) -> str:
        return str(self.directory / "bin" / "python")

    @cached_property
    def arguments(self) -> InstallArguments:
        return InstallArguments.of(self.spec, self.installer, os.environ)

    @cached_property
    def environ(self) -> Mapping[str, str]:
        return installer_environment(os.environ, self.scratch, is_airflow=bool(self.installer.command))

    def create(self) -> None:
        """Make the empty virtual environment."""
        python = self.spec.interpreter.executable
        sees_others = ["--system-site-packages"] if self.spec.system_site_packages else []
        # ensurepip would install a pip into each environment; one outside serves them all.
        command = [python, "-I", "-m", "venv", "--without-pip", *sees_others, str(self.directory)]
        self._run(command, failure=f"no virtual environment could be made of {python}")

    def install(self) -> None:
        """Install the requirements."""
        if not self.arguments.asks_for_packages:
            return
        words = [*self._requirements_file(), *self.arguments.words]
        if self.installer.name == "uv":
            command = [self.installer.uv, "pip", "install", "--python", self.python, *words]
        else:
            command = [*self._pip(), "install", *words, "--compile"]
        self._run_with_requirements(command)

    def hand_over(self) -> None:
        """Let the installer that was handed down make the environment and install into it."""
        words = [*self.arguments.words, *self._requirements_file()] if self.arguments.asks_for_packages else []
        order = {
            "directory": str(self.directory),
            "python": self.spec.interpreter.executable,
            "system_site_packages": self.spec.system_site_packages,
            "requirements": words,
            "sys_path": [entry for entry in sys.path if entry],
        }
        self._run_with_requirements(list(self.installer.command), more={ORDER_VARIABLE: json.dumps(order)})

    def show_worker_packages(self) -> None:
        """Put the worker's own packages behind the environment's; called last, or pip would count them among these."""
        folders = self.spec.worker_site_packages
        if not folders:
            return
        # addsitedir and not plain paths: .pth files in the worker's folders count too, as they do for the worker.
        # In ASCII: before Python 3.13 a .pth file is read in the encoding of the current locale.
        lines = [f"import site; site.addsitedir({folder!a})\n" for folder in folders]
        for target in post_install.site_packages(self.directory)[:1]:
            (target / _WORKER_PACKAGES).write_text("".join(lines), encoding="utf-8")

    def check(self, *, is_durable: bool) -> dict[str, str]:
        """Check that every file is there and that the command of the spec's check succeeds.

        :param is_durable: whether all of it is on the disk at the end.
        :returns: version of each installed distribution.
        """
        # uv copies the mode of a file too, and its cache may have been filled without a umask.
        shut_out_others(self.directory)
        self.report("Trying out what was installed.")
        disk = post_install.flushed_to_disk(
            self.directory, cancellation=self.cancellation, report=self.report, keep_open=self.keep_open
        )
        # The flush, the command and the look at the files run at the same time: one after the other, a build of
        # dbt-duckdb took 4 % longer.
        with disk if is_durable else nullcontext(), ThreadPoolExecutor(1) as beside:
            faults = beside.submit(post_install.file_faults, self.directory)
            if self.spec.check:
                command = [self.python, "-I", "-B", "-c", self.spec.check]
                self._run(command, failure=f"{self.spec} was installed but does not work", on_line=self._hear_check)
            self._refuse_damage(faults.result())
            return post_install.pins_in(self.directory)

    def _refuse_damage(self, faults: Mapping[str, str]) -> None:
        if faults:
            message = f"The installation of {self.spec} is damaged: {', '.join(list(faults)[:5])}."
            if self.installer.name != "pip":  # pip checks the checksums of a wheel when it unpacks it
                names = shlex.join(sorted(set(faults.values())))
                message += f" uv copies files from its cache unchecked: 'uv cache clean {names}' removes damaged ones."
            raise VirtualenvBuildError(message)

    def _hear_check(self, line: str) -> None:
        """Keep a line with facts, and report any other."""
        if line.startswith(_FACTS):
            self.provides.update(json.loads(line)["provides"])
        elif line:
            self._report(line)

    def _pip(self) -> list[str]:
        """Return the words that start a pip for the new environment: the worker's, else that of its own Python."""
        found = importlib.util.find_spec("pip")
        # An isolated Python (-I) sees no pip of the user's own site-packages.
        if found is not None and found.origin and not found.origin.startswith(site.getusersitepackages()):
            return [sys.executable, "-I", "-m", "pip", "--python", self.python]
        self._run(
            [self.python, "-I", "-m", "ensurepip", "--default-pip"],
            failure=f"neither the worker nor {self.spec.interpreter.executable} has pip, and uv was not chosen",
        )
        return [self.python, "-I", "-m", "pip"]

    def _run_with_requirements(self, command: list[str], more: Mapping[str, str] | None = None) -> None:
        try:
            self._run(
                command,
                failure=f"{self.installer.name} could not install {self.spec}",
                more={**self.arguments.variables, **(more or {})},
            )
        finally:  # credentials may stand in it, and the check runs what was installed
            self._requirements_path.unlink(missing_ok=True)

    @property
    def _requirements_path(self) -> Path:
        return self.scratch / "requirements.txt"

    def _requirements_file(self) -> list[str]:
        """Write the requirements file, and return the words that name it. Without lines there is no file."""
        lines = self.arguments.file_lines
        if not lines:
            return []
        file = self._requirements_path
        with naming(file):
            write_new(file, "\n".join(lines) + "\n", mode=0o600)  # a credential may stand in it
        return ["--requirement", str(file)]

    def _run(
        self,
        command: list[str],
        *,
        failure: str,
        more: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        try:
            completed = run_guarded(
                command,
                env={**self.environ, **(more or {})},
                keep_open=self.keep_open,
                on_line=on_line or self._report,
                on_tick=self.on_tick,
                cancellation=self.cancellation,
                # Others must not be able to write to files that tasks will run, whatever umask the worker has.
                launcher=partial(GuardedProcess, umask=_NOT_FOR_OTHERS_TO_WRITE),
            )
        except OSError as error:
            raise VirtualenvBuildError(f"{failure}: {command[0]} cannot be started ({error.strerror}).") from error
        if completed.returncode:
            raise VirtualenvBuildError(self._failure_message(failure, completed))

    def _report(self, line: str) -> None:
        self.report(ToolLine(self.arguments.mask(line)))

    def _failure_message(self, failure: str, completed: CompletedCommand) -> str:
        last_lines = [self.arguments.mask(line) for line in completed.lines[-_LAST_LINES:]]
        message = [f"{failure} (exit status {completed.returncode}). It said:", *last_lines]
        if os_errors.is_about_a_full_disk(last_lines):
            environ = {**self.environ, "TMPDIR": str(self.scratch.parent)}
            message.append(os_errors.full_disk_message(self.directory, environ))
        return "\n".join(message)


def refuse_stale_lock(spec: EnvironmentSpec, pins: Mapping[str, str]) -> None:
    """Refuse an installed lock file that does not satisfy the requirements named beside it.

    :param spec: of the environment.
    :param pins: version of each installed distribution.
    :raises CosmosValueError: naming the requirement, and what the lock file holds.
    """
    from packaging.utils import canonicalize_name

    versions = {canonicalize_name(name): version for name, version in pins.items()}
    for text in spec.requirements:
        if text.lstrip().startswith("-") or requirement_files.local_path(text) or requirement_files.is_url(text):
            continue
        wanted = parsed_requirement(text)
        version = versions.get(canonicalize_name(wanted.name))
        # A marker is about the Python of the environment, which is not that of this process.
        if wanted.marker is None and not (version and wanted.specifier.contains(version, prereleases=True)):
            holds = f"{wanted.name} {version}" if version else f"no {wanted.name}"
            raise CosmosValueError(
                f"py_requirements: {credentials.mask(text)} is wanted, and {spec.lock_file} holds {holds}. Lock anew: "
                "cosmos-venv env lock DAGFILE."
            )
