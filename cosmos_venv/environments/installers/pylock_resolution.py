"""Resolving requirements into a lock file, or into requirements with hashes, by uv.

- The index has the hashes; an environment that is installed has none.
- No credential gets into the file: whoever may read DAG files may read it.
- A lock file says for which Python and platform it was resolved, so that another one refuses it instead of lacking
  what only it needs.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from cosmos_venv import credentials
from cosmos_venv.environments import requirement_files
from cosmos_venv.environments.installers import choice
from cosmos_venv.environments.installers.choice import Installer, InstallerPreference, environment_of_installation
from cosmos_venv.environments.installers.command_line import InstallArguments
from cosmos_venv.environments.installers.index_check import index_failure
from cosmos_venv.environments.installers.pylock import locked_packages, markers_and_tags
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.exceptions import CosmosValueError, VirtualenvBuildError
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import run_guarded
from cosmos_venv.processes.scratch import descriptors_of, scratch_folder

_ONLY_FOR_INSTALLING = {
    "--require-hashes", "--no-verify-hashes", "--force-reinstall", "--reinstall", "--reinstall-package", "--upgrade",
    "--upgrade-package", "--quiet", "--verbose",
}  # fmt: skip
_LAST_LINES = 20
_SINCE_PYTHON = r"(?m)^requires-python = .*\n"
_ADDRESS = r'\b(?:url = "file://(?P<address>/[^"]*)"|path = "(?P<path>/[^"]*)")'


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """The outcome of resolving requirements.

    :param text: of the file that fixes them; no credential is in it.
    :param packages: how many packages it holds for the Python that it was resolved for.
    """

    text: str
    packages: int


def resolve(
    spec: EnvironmentSpec,
    target: Path,
    *,
    preference: InstallerPreference = "auto",
    is_universal: bool = False,
    cancellation: Cancellation,
    report: Callable[[str], None],
) -> Resolution:
    """Resolve the requirements of a spec, and return the text of a file that fixes them.

    :param spec: of the environment, without a lock file.
    :param target: the file that will be written: a lock file by its name, else requirements with hashes.
    :param preference: ``uv``: uv's own configuration counts; any other: that of pip, as far as uv can be told it.
    :param is_universal: whether it is resolved for all platforms, and for later Pythons too.
    :param cancellation: ends the resolving.
    :param report: gets each line of uv's output, without credentials.
    :raises CosmosValueError: when a package can have no hash, or the worker cannot read lock files.
    :raises VirtualenvBuildError: when uv is not there, cannot be told what pip is told, or finds no answer.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    spec = replace(spec, pip_install_options=tuple(_for_resolving(spec.pip_install_options)))
    installer = _uv(spec, preference)
    arguments = InstallArguments.of(spec, installer, os.environ)
    is_lock_file = requirement_files.is_lock_file(target)
    with scratch_folder("cosmos-venv-lock-") as scratch:
        resolved = scratch / ("pylock.toml" if is_lock_file else "requirements.txt")
        began = time.monotonic()
        done = run_guarded(
            [
                *(installer.uv, "pip", "compile", "--python", spec.interpreter.executable),
                *("--no-header", "--no-annotate", "--output-file", str(resolved)),
                *(("--format", "pylock.toml") if is_lock_file else ("--generate-hashes",)),
                *(["--universal"] if is_universal else []),
                *_words(arguments, scratch),
            ],
            env={**environment_of_installation(installer, os.environ, scratch), **arguments.variables},
            keep_open=descriptors_of(scratch),
            on_line=lambda line: report(arguments.mask(line)),
            cancellation=cancellation,
        )
        if done.returncode:
            said = [arguments.mask(line) for line in done.lines]
            raise VirtualenvBuildError(_failure(spec, installer, said, time.monotonic() - began))
        text = credentials.remove(resolved.read_text(encoding="utf-8"))
        if not is_lock_file:
            return Resolution(text=_header(spec) + text, packages=_packages_with_hashes(text))
        if not is_universal:
            text = re.sub(_SINCE_PYTHON, _limits(spec, cancellation), text, count=1)
        resolved.write_text(text, encoding="utf-8")
        try:
            packages = _packages_locked(spec, resolved, cancellation)
        except CosmosValueError as error:
            raise CosmosValueError(str(error).replace(str(resolved), str(target))) from error
    return Resolution(text=_header(spec) + _with_paths_from(target.parent, text), packages=packages)


def _uv(spec: EnvironmentSpec, preference: InstallerPreference) -> Installer:
    if not choice.find_uv(os.environ):
        raise VirtualenvBuildError("uv resolves lock files, and is not on PATH. Install it: cosmos-venv[uv].")
    wanted: InstallerPreference = "uv" if preference == "uv" else "auto"
    installer = choice.choose_installer(wanted, spec.pip_install_options, os.environ, requirements=spec.requirements)
    if installer.name != "uv":
        raise VirtualenvBuildError(
            f"uv resolves lock files, and cannot be told what pip is told: {installer.reason}. Leave that out, or "
            "let uv go by its own configuration ([cosmos_venv] virtualenv_installer = uv)."
        )
    return installer


def _for_resolving(words: Iterable[str]) -> Iterator[str]:
    """Give the words of a command line without those that only an installation takes."""
    for option in requirement_files.parse(words):
        if option.name not in _ONLY_FOR_INSTALLING:
            yield from option.words


def _words(arguments: InstallArguments, scratch: Path) -> list[str]:
    """Write the requirements into a file. Return the words of the command line that say the rest."""
    lines, words = list(arguments.file_lines), []
    for option in requirement_files.parse(_for_resolving(arguments.words)):
        value = option.value or ""
        if option.name == "--requirement":
            words.append(value)
        elif option.name in ("", "--editable"):  # a path with blanks: a word would be a file of requirements
            lines.append(value if value.startswith("file:") else Path(value).absolute().as_uri())
        else:
            words += option.words
    file = scratch / "wanted.txt"
    file.touch(mode=0o600)
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return [*words, str(file)]


def _limits(spec: EnvironmentSpec, cancellation: Cancellation) -> str:
    """Return lines that say for which Python and platform a lock file is.

    uv says only from which Python on; a later one may need packages that were not resolved for it.
    """
    markers, _ = markers_and_tags(spec.interpreter, cancellation=cancellation)
    platform = " and ".join(f"{name} == '{markers[name]}'" for name in ("sys_platform", "platform_machine"))
    return f'requires-python = "=={markers["python_version"]}.*"\nenvironments = ["{platform}"]\n'


def _header(spec: EnvironmentSpec) -> str:
    wanted = " ".join(credentials.mask(", ".join(spec.requirements)).split())
    return f"# Resolved by cosmos-venv env lock, for: {wanted}\n"


def _packages_locked(spec: EnvironmentSpec, file: Path, cancellation: Cancellation) -> int:
    """Return the number of packages that a build would take from a new lock file.

    :raises CosmosValueError: when a build would refuse it.
    """
    named = (*spec.requirements, f"-r {shlex.quote(str(file))}")
    locked = locked_packages(replace(spec, requirements=named), cancellation=cancellation)
    return len(locked.lines) if locked else 0


def _packages_with_hashes(text: str) -> int:
    """Return the number of packages in requirements with hashes.

    :raises CosmosValueError: naming a package without one.
    """
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    if without := next((line for line in lines if "--hash=" not in line), None):
        raise CosmosValueError(
            f"py_requirements: {credentials.mask(without)} has no hash that could be checked. Build a wheel of it (pip "
            "wheel), and require that: 'NAME @ file:///PATH/OF/THE.whl'."
        )
    return len(lines)


def _with_paths_from(folder: Path, text: str) -> str:
    """Return a lock file with paths in place of addresses below its folder, so that both can be moved together."""

    def moved(found: re.Match[str]) -> str:
        path = Path(unquote(found["address"]) if found["address"] else found["path"])
        return f"path = {json.dumps(str(path.relative_to(folder)))}" if path.is_relative_to(folder) else found.group()

    return re.sub(_ADDRESS, moved, text)


def _failure(spec: EnvironmentSpec, installer: Installer, said: list[str], seconds: float) -> str:
    hosts = choice.hosts(installer, spec.pip_install_options, spec.requirements, os.environ)
    if any("unexpected argument '--format'" in line for line in said):
        return f"{installer.uv} writes no lock files. Install uv 0.6.15 or later, or lock into requirements (FILE.txt)."
    reason = index_failure(said, hosts=hosts, seconds=seconds)
    return "\n".join([f"uv could not resolve {spec}{f': {reason}' if reason else ''}. It said:", *said[-_LAST_LINES:]])
