"""Making an environment in a directory of its own: created, filled, compiled and checked.

By uv, by pip, or by an installer that is handed down. Every tool runs under a guard, so that nothing outlives a build
that was cancelled. No command line shows an address: requirements go into a file that only this user can read, and
which is removed before anything that was installed runs.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from cosmos_venv.environments import post_install
from cosmos_venv.environments.environment import RecordedInstaller
from cosmos_venv.environments.installers import choice, installer_config, libraries, resolution_check
from cosmos_venv.environments.installers.bundled_pip import bundled_pip, has_usable_pip, own_pip
from cosmos_venv.environments.installers.choice import (
    ORDER_VARIABLE,
    Installer,
    environment_of_installation,
)
from cosmos_venv.environments.installers.command_line import InstallArguments
from cosmos_venv.environments.installers.creation import create_in_process, creation_command, empty_directory
from cosmos_venv.environments.installers.index_check import hash_failure, index_failure, without_repetitions
from cosmos_venv.environments.installers.pylock import LockedPackages, locked_packages
from cosmos_venv.environments.post_install import Installed
from cosmos_venv.environments.spec import EnvironmentSpec, Library
from cosmos_venv.exceptions import VirtualenvBuildError
from cosmos_venv.files import filesystem_check, os_errors
from cosmos_venv.files.durable_files import shut_out_others
from cosmos_venv.files.permissions import Writers, trusted_owners
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import CompletedCommand, GuardedProcess, run_guarded, started_ahead
from cosmos_venv.processes.scratch import descriptors_of, scratch_folder

_COMMANDS_OF_A_BUILD = 2  # fill it, check it; it may have to be made, and to be written to the disk
_LAST_LINES = 20
_NOT_FOR_OTHERS_TO_WRITE = 0o022
_FACTS = '{"provides": '  # a line of a check, for the record
_WORKER_PACKAGES = "cosmos_venv_worker_packages.pth"
# By what uv writes when it fails, as patterns: why pip may succeed where uv has not.
_PIP_MAY_KNOW_BETTER = {
    resolution_check.PASSED_OVER: "uv passes over what pip takes where nothing else fits",
    r"Unexpected '-'": "this release of uv does not know an option of a requirements file",
    r"[Bb]uilding source distributions .*disabled": "uv builds nothing where --only-binary is said, pip what is named",
    # pip trusts the certificates of the system too, beside those that it brings along.
    r"UnknownIssuer|[Ii]nvalid peer certificate|[Cc]ertificate verify failed": "uv does not trust a certificate",
}
_UNSOLVED = "No solution found"
_YANKED = re.compile(r"warning: `?(?P<name>[^`]+)`? is yanked")
_UNREACHABLE = r"Failed to fetch|[Rr]equest failed|Failed to read `--find-links`|error sending request"


class ToolLine(str):
    """A line that an installer, or another tool of a build, has written: of hundreds, most say nothing to a user."""

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
    replaced_faults: Collection[str] = (),
    writers: Writers | None = None,
) -> Built:
    """Make an environment in a directory, and return what is installed in it.

    :param spec: what it must hold.
    :param directory: does not exist yet or is empty.
    :param installer: the tool that installs. Where uv is to give pip's answer and has none, pip installs.
    :param cancellation: ends the building.
    :param report: gets each line of the tools' output, without credentials, as a ``ToolLine``, and lines of our own.
    :param on_tick: called every second while a tool is at work: uv downloads for minutes without a word.
    :param keep_open: descriptors (leases) that live as long as anything the installer starts.
    :param is_durable: whether it is to survive a power cut.
    :param replaced_faults: the faults of the damaged environment that this one replaces (``Damaged.faults``).
    :param writers: who else may write to what is installed; None: this user and root.
    :raises VirtualenvBuildError: with the tool's last lines, when a step fails or what was installed does not work;
        or naming files that are missing or of another size, or that have one of ``replaced_faults`` again.
    :raises CosmosValueError: naming a lock file that cannot be installed on this Python.
    :raises CommandKilled: when ``cancellation`` was requested; nothing that was started runs any more.
    """
    locked = locked_packages(spec, cancellation=cancellation)
    # What its tools leave goes with it: a pip that is killed leaves all that it downloaded.
    with (
        # Guards are started at once, before their commands are known: a build then waits for the start of its tools
        # alone.
        started_ahead(_COMMANDS_OF_A_BUILD + (not spec.interpreter.is_own) + is_durable + installer.answers_for_pip),
        scratch_folder("cosmos-venv-build-") as scratch,
    ):

        def built_by(installer: Installer) -> Built:
            build = _Build(
                spec=spec,
                directory=directory,
                installer=installer,
                arguments=InstallArguments.of(spec, installer, os.environ, locked),
                locked=locked,
                environ=environment_of_installation(installer, os.environ, scratch),
                scratch=scratch,
                cancellation=cancellation,
                report=report,
                on_tick=on_tick,
                keep_open=(*keep_open, *descriptors_of(scratch)),
                writers=writers or Writers(owners=trusted_owners(), groups=frozenset({0})),
                replaced_faults=replaced_faults,
            )
            # Nobody knows how it installs, so nothing of uv and pip is done for it; what it made is checked like any
            # other build.
            if installer.command:
                build.hand_over()
            else:
                build.create()
                build.install()
                build.compare_with_pip()
            build.tell_what_is_not_locked()
            # At the latest now: what is published is never changed, and everybody may read it.
            post_install.hide_credentials(directory)
            build.show_worker_packages()
            build.copy_libraries(spec.libraries)
            installed = build.finish(is_durable=is_durable)
            return Built(
                pins=installed.pins,
                commands=installed.commands,
                installer=RecordedInstaller(name=installer.name, reason=installer.reason),
                sources=build.hosts(),
                provides=build.provides,
                libraries=build.copied,
            )

        try:
            return built_by(installer)
        except _PipDecides as reason:
            report(f"{reason}. It is installed with pip, which may give another answer.")
            empty_directory(directory)
            return built_by(Installer(name="pip", reason=str(reason)))


@dataclass(frozen=True, kw_only=True)
class Built(Installed):
    """The packages of a new environment, and the tool that installed them.

    :param pins: version of each installed distribution.
    :param commands: names of the commands in ``bin``.
    :param installer: the one that was chosen, or pip, where uv had no answer or not pip's.
    :param sources: hosts of the indexes, and folders, that it was told to take them from.
    :param provides: facts that the check of the spec has found out, by name.
    :param libraries: size in bytes of each file that was copied into ``lib/``, by its name.
    """

    installer: RecordedInstaller
    sources: tuple[str, ...]
    provides: Mapping[str, str]
    libraries: Mapping[str, int]


class _PipDecides(Exception):
    """uv was to give the answer of pip, and has none, or one that need not be pip's."""


@dataclass(frozen=True, kw_only=True)
class _Build:
    spec: EnvironmentSpec
    directory: Path
    installer: Installer
    arguments: InstallArguments
    locked: LockedPackages | None
    environ: Mapping[str, str]
    scratch: Path
    cancellation: Cancellation
    report: Callable[[str], None]
    on_tick: Callable[[], None] | None
    keep_open: tuple[int, ...]
    writers: Writers
    replaced_faults: Collection[str]
    heard: list[str] = field(default_factory=list)
    provides: dict[str, str] = field(default_factory=dict)
    copied: dict[str, int] = field(default_factory=dict)

    @property
    def python(self) -> str:
        return str(self.directory / "bin" / "python")

    def create(self) -> None:
        """Make the empty virtual environment."""
        interpreter, with_system = self.spec.interpreter, self.spec.system_site_packages
        if interpreter.is_own:
            try:
                create_in_process(self.directory, interpreter=interpreter, system_site_packages=with_system)
                return
            except Exception:  # noqa: BLE001 - the tool says what is wrong, or gets on with it
                empty_directory(self.directory)
        command = creation_command(self.installer, interpreter, system_site_packages=with_system)
        failure = f"no virtual environment could be made of {interpreter.executable}"
        self._run([*command, str(self.directory)], failure=failure)

    def install(self) -> None:
        """Install the requirements."""
        if not self.arguments.asks_for_packages:
            return
        more: dict[str, str] = {}
        if self.installer.name == "uv":
            command = self._uv_install()
        else:
            at_home = installer_config.options_against_diversion(self.environ, self.directory)
            words = [*self._requirements_file(), *self.arguments.words]
            pip, more = self._pip()
            # pip would compile in one process; ``finish`` takes the other processors too where that pays.
            command = [*pip, "install", *at_home, *words, "--no-compile"]
        try:
            self._run_with_requirements(command, more=more, on_line=self._hear, meanwhile=self._do_what_comes_next)
        except VirtualenvBuildError as failed:
            if self.installer.answers_for_pip and (reason := self._reason_to_ask_pip(self.heard)):
                raise _PipDecides(reason) from failed
            raise

    def _do_what_comes_next(self) -> None:
        """Work that needs no package, while the installer works."""
        # Importing the reader of metadata takes a fifth of a small installation, copying the driver for DuckDB half of
        # that of dbt 2.
        import importlib.metadata  # noqa: F401

        self.copy_libraries(each for each in self.spec.libraries if each.digest)

    def copy_libraries(self, wanted: Iterable[Library]) -> None:
        """Copy libraries into the environment, as far as they are not there.

        :param wanted: of the spec.
        """
        missing = [each for each in wanted if each.name not in self.copied]
        self.copied.update(libraries.copy_libraries(missing, self.directory, before=self.copied))

    def compare_with_pip(self) -> None:
        """Look whether uv's answer is the one that pip would have given, where that was wanted.

        :raises _PipDecides: when it need not be.
        """
        settings = self.installer.settings
        if settings is None or not settings.is_pips or not self.arguments.asks_for_packages:
            return
        if "--require-hashes" in self.arguments.words:  # with which every version is named
            return
        reason = resolution_check.why_pip_may_differ(
            self.directory,
            self.spec,
            takes_prereleases=settings.takes_prereleases,
            folders=settings.folders,
            files=settings.files,
            yanked=[match["name"] for line in self.heard if (match := _YANKED.match(line))],
            dry_run=self._dry_run,
        )
        if reason:
            raise _PipDecides(reason)

    def tell_what_is_not_locked(self) -> None:
        """Report what installed packages require and the lock file leaves out, by a mistake or on purpose."""
        if self.locked is None or self.spec.system_site_packages:
            return
        if missing := self.locked.missing(post_install.distributions_in(self.directory)):
            self.report(f"{self.locked.file} does not hold {', '.join(missing)}. Only what it holds is installed.")

    def _dry_run(self, more_words: Sequence[str], more_lines: Sequence[str]) -> resolution_check.DryRun:
        """Run uv with more than was asked for, as a dry run that installs nothing."""
        more = self.scratch / "more.txt"
        more.write_text("\n".join([*more_lines, ""]), encoding="utf-8")
        # Into a folder that does not exist: what is installed already would be taken as it is.
        nowhere = ["--dry-run", "--target", str(self.scratch / "nowhere"), *more_words, "--requirement", str(more)]
        said: list[str] = []
        try:
            self._run_with_requirements([*self._uv_install(), *nowhere], on_line=said.append)
        except VirtualenvBuildError:
            return resolution_check.DryRun(has_succeeded=False, said=said)
        return resolution_check.DryRun(has_succeeded=True, said=said)

    def hand_over(self) -> None:
        """Let the installer that was handed down make the environment and install into it."""
        order = {
            "directory": str(self.directory),
            "python": self.spec.interpreter.executable,
            "system_site_packages": self.spec.system_site_packages,
            "requirements": [*self.arguments.words, *self._requirements_file()]
            if self.arguments.asks_for_packages
            else [],
            "sys_path": [entry for entry in sys.path if entry],
        }
        self._run_with_requirements(list(self.installer.command), more={ORDER_VARIABLE: json.dumps(order)})

    def show_worker_packages(self) -> None:
        """Put the worker's own packages behind the environment's: last, or pip would take them for its own."""
        folders = self.spec.worker_site_packages
        if not folders:
            return
        # addsitedir and not plain paths: .pth files in the worker's folders count too, as they do for the worker.
        # In ASCII: before Python 3.13 it is read in the encoding of whatever locale the environment is used in.
        lines = [f"import site; site.addsitedir({folder!a})\n" for folder in folders]
        for target in post_install.site_packages(self.directory)[:1]:
            (target / _WORKER_PACKAGES).write_text("".join(lines), encoding="utf-8")

    def finish(self, *, is_durable: bool) -> Installed:
        """Write byte code, and see that every file is there and that the spec's own check has nothing to say.

        :param is_durable: whether all of it is on the disk at the end.
        :returns: what is installed.
        """
        # uv copies the mode of a file too, and its cache may have been filled without a umask.
        shut_out_others(self.directory, self.writers)
        self.report("Writing byte code and trying out what was installed.")
        folders = [str(folder) for folder in post_install.site_packages(self.directory)]
        command = [self.python, "-I", "-c", post_install.COMPILE_AND_CHECK, self.spec.check, *folders]
        disk = post_install.written_out(
            self.directory, cancellation=self.cancellation, report=self.report, keep_open=self.keep_open
        )
        with ExitStack() as until_on_disk:
            write_out = cache(partial(until_on_disk.enter_context, disk if is_durable else nullcontext()))
            read = cache(self._read_installed)
            self._run(
                command,
                failure=f"{self.spec} was installed but does not work",
                on_line=partial(self._hear_check, write_out=write_out),
                meanwhile=read,  # both at once: the one is reading here, the other compiling there
            )
            write_out()
            return read()

    def _read_installed(self) -> Installed:
        faults = post_install.faults(self.directory)
        if not faults and self.replaced_faults:
            again = post_install.faults(self.directory, content=True)
            faults = {fault: again[fault] for fault in again if fault in self.replaced_faults}
        if faults:
            raise VirtualenvBuildError(self._damage_message(faults))
        return post_install.installed(self.directory)

    def _damage_message(self, faults: Mapping[str, str]) -> str:
        message = f"The installation of {self.spec} is damaged: {', '.join(list(faults)[:5])}."
        if self.installer.name == "pip":  # which unpacks a wheel whose checksums fit
            return message
        names = shlex.join(sorted(set(faults.values())))
        return f"{message} uv copies files from its cache unchecked: 'uv cache clean {names}' removes damaged ones."

    def _hear_check(self, line: str, *, write_out: Callable[[], object]) -> None:
        """Report a line of the last command. The one that ends the writing of byte code lets the disk begin, and one
        with facts is kept."""
        if line.startswith(_FACTS):
            self.provides.update(json.loads(line)["provides"])
            return
        if not line:
            return
        if not line.endswith(post_install.WRITTEN):
            self._report(line)
            return
        write_out()  # the disk takes what is installed while the processor checks it
        if before := line.removesuffix(post_install.WRITTEN):  # what a .pth file says without ending its line
            self._report(before)

    def _reason_to_ask_pip(self, said: Sequence[str]) -> str:
        """Return why pip may have an answer where uv has none; empty where that is not to be expected."""
        assert self.installer.settings is not None  # noqa: S101 - for the type checker: it answers for pip
        text = "\n".join(said)
        reasons = [reason for pattern, reason in _PIP_MAY_KNOW_BETTER.items() if re.search(pattern, text)]
        if self.installer.settings.several and re.search(_UNREACHABLE, text):
            reasons.append("uv gives up where one of several indexes does not answer")
        return next(iter(reasons), "")

    def _hear(self, line: str) -> None:
        self.heard.append(line)
        self._report(line)

    def _uv_install(self) -> list[str]:
        words = [*self._requirements_file(), *self.arguments.words]
        return [self.installer.uv, "pip", "install", "--python", self.python, "--no-compile-bytecode", *words]

    def _pip(self) -> tuple[list[str], dict[str, str]]:
        """Return the words that start a pip for the new environment, and variables for it."""
        if (runner := own_pip()) is not None:
            return [self.python, str(runner)], {}
        if has_usable_pip():
            return [sys.executable, "-I", "-m", "pip", "--python", self.python], {}
        interpreter = self.spec.interpreter
        if (runner := bundled_pip(interpreter, self.scratch, self.environ, ask=self._answer)) is not None:
            # It is this user's own and compiled at its first use. Python takes an empty value for none.
            return [self.python, str(runner)], {"PYTHONDONTWRITEBYTECODE": ""}
        self._run(
            [self.python, "-I", "-m", "ensurepip", "--default-pip"],
            failure=f"neither the worker nor {interpreter.executable} has pip, and uv was not chosen",
        )
        return [self.python, "-I", "-m", "pip"], {}

    def _answer(self, source: str) -> str:
        said: list[str] = []
        with suppress(VirtualenvBuildError):
            self._run([self.python, "-I", "-c", source], failure="it does not answer", on_line=said.append)
        return "\n".join(said)

    def _run_with_requirements(
        self,
        command: list[str],
        *,
        more: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        try:
            self._run(
                command,
                failure=f"{self.installer.name} could not install {self.spec}",
                more={**self.arguments.variables, **(more or {})},
                on_line=on_line,
                meanwhile=meanwhile,
            )
        finally:  # credentials may stand in it, and the check runs what was installed
            self._requirements_path.unlink(missing_ok=True)

    @property
    def _requirements_path(self) -> Path:
        return self.scratch / "requirements.txt"

    def _requirements_file(self) -> list[str]:
        """Write the requirements file. Return the words that name it; none where nothing stands in it."""
        lines = self.arguments.file_lines
        if not lines:
            return []
        file = self._requirements_path
        # Before a credential stands in it: write_text alone would open it to others for a moment.
        file.touch(mode=0o600)
        with os_errors.naming(file):
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return ["--requirement", str(file)]

    def _run(
        self,
        command: list[str],
        *,
        failure: str,
        more: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        began = time.monotonic()
        try:
            completed = run_guarded(
                command,
                env={**self.environ, **(more or {})},
                keep_open=self.keep_open,
                on_line=on_line or self._report,
                on_tick=self.on_tick,
                meanwhile=meanwhile,
                cancellation=self.cancellation,
                # Whatever the umask of the worker is: others must not be able to write to what tasks will run.
                start=partial(GuardedProcess, umask=_NOT_FOR_OTHERS_TO_WRITE),
            )
        except OSError as error:
            if error.filename != command[0]:
                raise  # of what was done meanwhile
            raise VirtualenvBuildError(f"{failure}: {command[0]} cannot be started ({error.strerror}).") from error
        if completed.returncode:
            raise VirtualenvBuildError(self._failure_message(failure, completed, time.monotonic() - began))

    def _report(self, line: str) -> None:
        self.report(ToolLine(self.arguments.mask(line)))

    def _failure_message(self, failure: str, completed: CompletedCommand, seconds: float) -> str:
        said = [self.arguments.mask(line) for line in completed.lines if not line.endswith(post_install.WRITTEN)]
        last_lines = without_repetitions(said)[-_LAST_LINES:]
        message = [f"{failure} (exit status {completed.returncode}). It said:", *last_lines]
        if reason := hash_failure(said) or index_failure(said, hosts=self.hosts(), seconds=seconds):
            message[:1] = [f"{failure}: {reason}", f"Exit status {completed.returncode}. It said:"]
        if reason or any(_UNSOLVED in line for line in said):
            message += self._unheeded_places()
        if os_errors.is_about_a_full_disk(last_lines):
            environ = {**self.environ, "TMPDIR": str(self.scratch.parent)}
            message.append(filesystem_check.full_disk_message(filesystem_check.free_space(self.directory, environ)))
        if os_errors.is_about_too_many_files(last_lines):
            message.append(os_errors.too_many_files_message())
        return "\n".join(message)

    def hosts(self) -> tuple[str, ...]:
        """Return the hosts of the indexes, and folders, that the installer is told to take packages from."""
        of_locked = self.locked.sources if self.locked is not None else ()
        if self.locked is not None and not self.locked.has_sdists:
            return of_locked
        of_index = choice.hosts(self.installer, self.spec.pip_install_options, self.spec.requirements, os.environ)
        return tuple(dict.fromkeys((*of_locked, *of_index)))

    def _unheeded_places(self) -> list[str]:
        """Return a sentence on each place that uv alone is configured with, where uv has looked at those of pip."""
        settings = self.installer.settings
        if settings is None or settings.config is None:
            return []
        return [
            f"{place} names places for uv alone, and auto looks where pip would: name them to pip too, or choose uv "
            "([cosmos_venv] virtualenv_installer = uv)."
            for place in installer_config.sources_of_uv_places(os.environ, settings.places)
        ]
