"""Lock files (PEP 751, ``pylock.toml``): resolved by uv, installed by uv.

- The hashes come from the index; an installed environment has none. uv refuses a file with another hash.
- No credential gets into a lock file: everybody who may read DAG files may read the lock file.
- A lock file says for which Python and platform it was resolved. Elsewhere the installation is refused: it might lack
  packages that are needed only there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from cosmos_venv import credentials
from cosmos_venv.environments import requirement_files
from cosmos_venv.environments.installers.installer import InstallArguments, choose_installer, installer_environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.exceptions import CosmosValueError, VirtualenvBuildError
from cosmos_venv.files.own_files import write_new
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import run_guarded
from cosmos_venv.processes.scratch import descriptors_of, scratch_folder

_ONLY_FOR_INSTALLING = ("--require-hashes", "--upgrade")
_LAST_LINES = 20
_SINCE_PYTHON = r"(?m)^requires-python = .*\n"
_ADDRESS = r'\burl = "file://(?P<address>/[^"]*)"'


def resolve(
    spec: EnvironmentSpec,
    target: Path,
    *,
    is_universal: bool = False,
    cancellation: Cancellation,
    report: Callable[[str], None],
) -> tuple[str, int]:
    """Resolve the requirements of a spec.

    :param spec: of the environment, without a lock file.
    :param target: the file that will be written: a lock file by its name, else requirements with hashes.
    :param is_universal: whether it is resolved for all platforms, and for later Pythons too.
    :param cancellation: ends the resolving.
    :param report: gets each line of uv's output, without credentials.
    :returns: the text of a file that fixes them, without credentials, and the number of packages in it.
    :raises CosmosValueError: when uv cannot be told a setting, or a package can have no hash.
    :raises VirtualenvBuildError: when uv is not there, or finds no answer.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    given = requirement_files.parse(spec.pip_install_options)
    options = [word for option in given if option.name not in _ONLY_FOR_INSTALLING for word in option.words]
    spec = replace(spec, pip_install_options=tuple(options))
    installer = choose_installer("uv", spec, os.environ)
    arguments = InstallArguments.of(spec, installer, os.environ)
    is_lock_file = requirement_files.is_lock_file(target)
    with scratch_folder("cosmos-venv-lock-") as scratch:
        resolved = scratch / ("pylock.toml" if is_lock_file else "requirements.txt")
        done = run_guarded(
            [
                *(installer.uv, "pip", "compile", "--python", spec.interpreter.executable),
                *("--no-header", "--no-annotate", "--output-file", str(resolved)),
                *(("--format", "pylock.toml") if is_lock_file else ("--generate-hashes",)),
                *(["--universal"] if is_universal else []),
                *_words(arguments, scratch),
            ],
            env={**installer_environment(os.environ, scratch), **arguments.variables},
            keep_open=descriptors_of(scratch),
            on_line=lambda line: report(arguments.mask(line)),
            cancellation=cancellation,
        )
        if done.returncode:
            said = [arguments.mask(line) for line in done.lines[-_LAST_LINES:]]
            raise VirtualenvBuildError("\n".join([f"uv could not resolve {spec}. It said:", *said]))
        text = credentials.remove(resolved.read_text(encoding="utf-8"))
    packages = re.split(r"(?m)^\[\[packages\]\]$" if is_lock_file else r"(?m)^(?=[^\s#])", text)[1:]
    for package in packages:
        if re.search(r"(?m)^(vcs|directory) = ", package) or not re.search("sha(256|384|512)", package):
            raise CosmosValueError(
                f"py_requirements: {' '.join(package.split())} has no hash that could be checked. Build a wheel of it "
                "(pip wheel), and require that: 'NAME @ file:///PATH/OF/THE.whl'."
            )
    if is_lock_file and not is_universal:
        text = re.sub(_SINCE_PYTHON, _limits(spec), text, count=1)
    wanted = " ".join(credentials.mask(", ".join(spec.requirements)).split())
    header = f"# Resolved by cosmos-venv env lock, for: {wanted}\n"
    return header + _with_paths_from(target.parent, text), len(packages)


def _words(arguments: InstallArguments, scratch: Path) -> list[str]:
    """Write the requirements into a file. Return the words of the command line that say the rest."""
    lines, words = list(arguments.file_lines), []
    for option in requirement_files.parse(arguments.words):
        if option.name == "--requirement":
            words.append(option.value)
        elif option.name in ("", "--editable"):  # a path with blanks: on the command line it means a requirements file
            is_address = option.value.startswith("file:")
            lines.append(option.value if is_address else Path(option.value).absolute().as_uri())
        elif option.name not in _ONLY_FOR_INSTALLING:
            words += option.words
    file = scratch / "wanted.txt"
    write_new(file, "\n".join([*lines, ""]), mode=0o600)  # a credential may stand in it
    return [*words, str(file)]


def _limits(spec: EnvironmentSpec) -> str:
    """Return lines that say for which Python and platform a lock file is.

    uv says only from which Python on; a later one may need packages that were not resolved for it.
    """
    release = ".".join(spec.interpreter.version.split(".")[:2])
    system, machine, *_ = spec.interpreter.platform.split("-")
    platform = f"sys_platform == '{system}' and platform_machine == '{machine}'"
    return f'requires-python = "=={release}.*"\nenvironments = ["{platform}"]\n'


def _with_paths_from(folder: Path, text: str) -> str:
    """Return a lock file with paths in place of addresses below its folder, so that both can be moved together."""

    def moved(found: re.Match[str]) -> str:
        path = Path(unquote(found["address"]))
        return f"path = {json.dumps(str(path.relative_to(folder)))}" if path.is_relative_to(folder) else found.group()

    return re.sub(_ADDRESS, moved, text)
