"""The arguments of an installer, so that no address stands on a command line, which everybody may read.

A credential may be user and password, a token in a query, or a whole address that nobody can take apart. Requirements
go into a requirements file, addresses of indexes into a configuration file or an environment variable.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cosmos_venv import credentials
from cosmos_venv.environments import requirement_files
from cosmos_venv.environments.installers import installer_config
from cosmos_venv.environments.installers.choice import Installer
from cosmos_venv.environments.installers.installer_config import Setting
from cosmos_venv.environments.installers.pylock import LockedPackages
from cosmos_venv.environments.requirement_files import InstallOption, local_path
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.exceptions import CosmosValueError

_VARIABLES_OF_PIP = {
    "--index-url": "PIP_INDEX_URL",
    "--extra-index-url": "PIP_EXTRA_INDEX_URL",
    "--find-links": "PIP_FIND_LINKS",
    "--proxy": "PIP_PROXY",
}
# Of an installer that was handed down nobody knows whose variables it reads.
_VARIABLES_OF_UV = {
    "--index-url": "UV_INDEX_URL",
    "--extra-index-url": "UV_EXTRA_INDEX_URL",
    "--find-links": "UV_FIND_LINKS",
    "--index": "UV_INDEX",
    "--default-index": "UV_DEFAULT_INDEX",
}
# Rarely an address: they stay words unless a credential is in one.
_MORE_VARIABLES_OF_PIP = {"--build-constraint": "PIP_BUILD_CONSTRAINT", "--build-constraints": "PIP_BUILD_CONSTRAINT"}
_MORE_VARIABLES_OF_UV = {
    "--build-constraint": "UV_BUILD_CONSTRAINT",
    "--build-constraints": "UV_BUILD_CONSTRAINT",
    "--override": "UV_OVERRIDE",
    "--overrides": "UV_OVERRIDE",
}
_PLACES = {"--index-url", "--extra-index-url", "--find-links"}
_REQUIREMENTS = {"", "--requirement", "--constraint", "--editable"}
_AS_LOCKED = ("--no-deps", "--require-hashes")
# Constraints had a say when the file was locked. uv takes none that is not pinned beside hashes.
_WITHOUT_CONSTRAINTS = {"PIP_CONSTRAINT": os.devnull, "UV_CONSTRAINT": os.devnull}
_GIT_WITH_VARIABLES = (2, 31)
_GIT = r"git\+(?=https?://)"


@dataclass(frozen=True, kw_only=True)
class InstallArguments:
    """The orders to an installer: command line words, variables, and lines of a requirements file.

    :param words: options, and requirements that are paths: nothing that may hold a credential.
    :param variables: environment variables, which may hold credentials.
    :param file_lines: lines for a requirements file of its own.
    :param secrets: texts that must not appear in any output.
    :param asks_for_packages: whether there is anything to install.
    """

    words: tuple[str, ...]
    variables: Mapping[str, str]
    file_lines: tuple[str, ...]
    secrets: tuple[str, ...]
    asks_for_packages: bool

    @classmethod
    def of(
        cls,
        spec: EnvironmentSpec,
        installer: Installer,
        environ: Mapping[str, str],
        locked: LockedPackages | None = None,
    ) -> InstallArguments:
        """Return the arguments for one tool.

        :param spec: the packages and options that are wanted.
        :param installer: the tool.
        :param environ: the worker's variables. They may configure pip, and variables for pip must not replace that.
        :param locked: what is installed, and nothing else; None: what the spec requires, and all that this requires.
        :raises CosmosValueError: naming ``pip_install_options``: a credential could only stand on the command line.
        """
        given = [*requirement_files.parse(spec.pip_install_options), *_required(spec)]
        required = [] if locked else [option for option in given if option.name in _REQUIREMENTS]
        others = [option for option in given if option.name not in _REQUIREMENTS]
        of_machine = installer_config.pip_configuration(environ)
        # With it pip reads no variable; what an option says in a requirements file it obeys.
        is_isolated = installer.settings is None and any(option.name == "--isolated" for option in others)
        # As variables they were lost, and a package of that name from the public index was installed.
        places = [option for option in others if is_isolated and option.name in _PLACES]
        others = [option for option in others if option not in places]
        if installer.settings is not None:
            words, variables = installer.settings.words, dict(installer.settings.variables)
        elif is_isolated:
            words, variables = tuple(word for option in others for word in option.words), {}
        else:
            words, variables = _of_pip(others, of_machine, with_uv=bool(installer.command))
        words, more = _without_credentials(words, {} if is_isolated else _more_variables(installer), of_machine)
        variables |= more
        if locked is not None:
            words = (*words, *(word for word in _AS_LOCKED if word not in words))
            variables |= _WITHOUT_CONSTRAINTS
        lines = {option: _file_line(option) for option in sorted(required, key=lambda each: each.name == "--editable")}
        git, in_file = _git_apart(filter(None, lines.values()), environ)
        more_lines = locked.lines if locked else installer.settings.lines if installer.settings else ()
        texts = [*(option.value or "" for option in given), *(setting.value for setting in of_machine), *more_lines]
        return cls(
            words=(*words, *(word for option in required if lines[option] is None for word in option.words)),
            variables={**variables, **git},
            file_lines=(*_place_lines(places), *in_file, *more_lines),
            secrets=tuple(sorted({secret for text in texts for secret in credentials.secrets_in(text)}, key=len))[::-1],
            asks_for_packages=bool(locked.lines)
            if locked
            else any(option.name != "--constraint" for option in required),
        )

    def mask(self, text: str) -> str:
        """Return a line of the tool's output as it may be logged.

        :param text: the line.
        """
        for secret in self.secrets:
            text = text.replace(secret, credentials.MASK)
        return credentials.mask(text)


def _required(spec: EnvironmentSpec) -> list[InstallOption]:
    required = []
    for text in spec.requirements:
        if text.lstrip().startswith("-"):
            required += list(requirement_files.parse(shlex.split(text)))
        else:
            required.append(InstallOption(name="", value=text.strip(), words=(text.strip(),)))
    return required


def _file_line(option: InstallOption) -> str | None:
    """Return an option or requirement as a line of a requirements file; None for one that can only be a word."""
    value = option.value or ""
    if option.name in ("--requirement", "--constraint"):
        return f"{option.name} {value}" if "://" in value else None
    if local := local_path(value):
        # One that is relative pip and uv take from elsewhere when it stands in a file.
        value = f"{Path(local.path).absolute()}{local.rest if local.rest.startswith('[') else f' {local.rest}'}".strip()
        if re.search(r"[\s#]", str(Path(local.path).absolute())):
            return None
    elif value.startswith("file:"):
        return None
    return f"{option.name} {value}".strip()


def _of_pip(
    others: Iterable[InstallOption], of_machine: Iterable[Setting], *, with_uv: bool
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return words and variables for pip. Its variables replace what it is configured with; its options add to that."""
    others, of_machine = list(others), list(of_machine)
    variables_of = _VARIABLES_OF_PIP | (_VARIABLES_OF_UV if with_uv else {})
    # A path may hold blanks, at which pip parts a variable, and holds no credential.
    moved = [option for option in others if option.name in variables_of and _is_address(option)]
    variables = {}
    for name in dict.fromkeys(option.name for option in moved):
        here = [option.value or "" for option in moved if option.name == name]
        if with_uv and (variable := _VARIABLES_OF_UV.get(name)):
            variables[variable] = ("," if name == "--find-links" else " ").join(here)
        if variable := _VARIABLES_OF_PIP.get(name):
            is_list = name in ("--extra-index-url", "--find-links")
            before = [each.value for each in of_machine if is_list and f"--{each.name}" == name]
            variables[variable] = " ".join([*before, *(here if is_list else here[-1:])])
    return tuple(word for option in others if option not in moved for word in option.words), variables


def _place_lines(places: Iterable[InstallOption]) -> list[str]:
    """Return lines of a requirements file that name places. There an index replaces those that were named before it."""
    ordered = sorted(places, key=lambda option: option.name != "--index-url")
    return [f"{option.name} {shlex.quote(option.value or '')}" for option in ordered]


def _more_variables(installer: Installer) -> dict[str, tuple[str, ...]]:
    """Return, by the option, the variables of every tool that the installer may be."""
    tables = {"uv": (_MORE_VARIABLES_OF_UV,), "pip": (_MORE_VARIABLES_OF_PIP,)}
    of_tools = tables.get(installer.name, (_MORE_VARIABLES_OF_UV, _MORE_VARIABLES_OF_PIP))
    names = {name for table in of_tools for name in table}
    return {name: tuple(table[name] for table in of_tools if name in table) for name in names}


def _without_credentials(
    words: Iterable[str], variables_of: Mapping[str, tuple[str, ...]], of_machine: Iterable[Setting]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the words in which no credential stands, and variables that say the rest.

    :raises CosmosValueError: naming an option for which there is no variable.
    """
    parsed = list(requirement_files.parse(words))
    telling = [option for option in parsed if _is_address(option) and any(map(credentials.secrets_in, option.words))]
    variables: dict[str, str] = {}
    moved: list[InstallOption] = []
    for option in telling:
        same = [each for each in parsed if variables_of.get(each.name) == variables_of.get(option.name)]
        values = [each.value or "" for each in same]
        # A tool takes its variable apart at blanks.
        if option.name not in variables_of or any(re.search(r"\s", value) for value in values):
            raise CosmosValueError(
                f"pip_install_options: {option.name or 'an argument'} = {credentials.mask(option.value or '')} holds a "
                "credential, which would stand on the command line for everybody to read. Give it in .netrc, or by a "
                "variable of the worker that the installer reads (HTTPS_PROXY for a proxy)."
            )
        before = [each.value for each in of_machine if variables_of.get(f"--{each.name}") == variables_of[option.name]]
        for variable in variables_of[option.name]:
            here = [*before, *values] if variable.startswith("PIP_") else values
            variables[variable] = " ".join(dict.fromkeys(here))
        moved += same
    return tuple(word for option in parsed if option not in moved for word in option.words), variables


def _is_address(option: InstallOption) -> bool:
    value = option.value or ""
    return "://" in value or option.name == "--proxy"


def _git_apart(lines: Iterable[str], environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Variables with which git logs in, and the lines without user and password.

    git writes the address on its own command line, and a header of its configuration never. A git before 2.31 reads no
    configuration from variables: then the lines stay as they are.
    """
    headers: dict[str, str] = {}
    apart = []
    for line in lines:
        users = credentials.found_in(line) if re.search(_GIT, line) else []
        if not users or not _git_reads_variables(environ.get("PATH")):
            apart.append(line)
            continue
        plain = credentials.remove(line)
        address = urlsplit(re.split(_GIT, plain, maxsplit=1)[1].split()[0])
        user, _, password = users[0].partition(":")
        login = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        path = address.path.partition("@")[0]
        headers[f"http.{address.scheme}://{address.netloc}{path}.extraHeader"] = f"Authorization: Basic {login}"
        apart.append(plain)
    if not headers:
        return {}, apart
    known = int(environ.get("GIT_CONFIG_COUNT") or 0)
    variables = {"GIT_CONFIG_COUNT": str(known + len(headers))}
    for number, (name, value) in enumerate(headers.items(), start=known):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables, apart


def _git_reads_variables(path: str | None) -> bool:
    git = shutil.which("git", path=path)
    if git is None:
        return True  # the installer says that there is none
    asked = subprocess.run([git, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    found = re.search(r"(\d+)\.(\d+)", asked.stdout)
    return found is None or (int(found[1]), int(found[2])) >= _GIT_WITH_VARIABLES
