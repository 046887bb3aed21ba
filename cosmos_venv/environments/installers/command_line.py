"""The arguments of an installer, so that no address stands on a command line, which everybody may read.

A credential may be user and password, a token in a query, or a whole address that nobody can take apart. Requirements
go into a requirements file, addresses of indexes and proxies into environment variables.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cosmos_venv import credentials
from cosmos_venv.environments import requirement_files
from cosmos_venv.environments.installers.choice import Installer, given_options
from cosmos_venv.environments.installers.pip_config import pip_configuration, pip_variables
from cosmos_venv.environments.installers.uv_settings import for_uv, uv_configuration
from cosmos_venv.environments.requirement_files import InstallOption, local_path
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.exceptions import CosmosValueError

_REQUIREMENTS = {"", "--requirement", "--constraint", "--editable"}
# pip gets these by variables: an address may hold a credential, so it is no word of a command line.
_ADDRESSES = {"--index-url", "--extra-index-url", "--find-links", "--proxy"}
# uv takes no constraints and overrides beside a lock file, which was made under them.
_BESIDE_A_LOCK_FILE = {"UV_CONSTRAINT": "", "UV_OVERRIDE": ""}
_GIT = r"git\+(?=https?://)"
_ISOLATED = "--isolated"  # pip reads no variable then: what it is configured with is left out instead
_DEFAULT_INDEX = "the default index"  # of both tools: the same one


@dataclass(frozen=True, kw_only=True)
class InstallArguments:
    """The orders to an installer: command line words, variables, and lines of a requirements file.

    :param words: options, and requirements that are paths: nothing that may hold a credential.
    :param variables: environment variables, which may hold credentials.
    :param file_lines: lines for a requirements file of its own.
    :param secrets: texts that must not appear in any output.
    :param sources: where packages may come from: hosts, and folders of this machine. No credentials. Nobody knows where
        an installer that was handed down looks: then there are none.
    :param asks_for_packages: whether there is anything to install.
    """

    words: tuple[str, ...]
    variables: Mapping[str, str]
    file_lines: tuple[str, ...]
    secrets: tuple[str, ...]
    sources: tuple[str, ...]
    asks_for_packages: bool

    @classmethod
    def of(cls, spec: EnvironmentSpec, installer: Installer, environ: Mapping[str, str]) -> InstallArguments:
        """Return the arguments for one tool.

        :param spec: the packages and options that are wanted. Of a lock file it is those that the file holds.
        :param installer: the tool.
        :param environ: the worker's variables. They may configure pip, and variables for pip must not replace that.
        :raises CosmosValueError: naming ``pip_install_options``: a credential could only stand on the command line; or
            a requirements file or configuration file that cannot be read.
        """
        configured = _configuration(spec, installer, environ)
        required = [option for option in spec.all_options if option.name in _REQUIREMENTS]
        others = [option for option in spec.all_options if option.name not in _REQUIREMENTS]
        settings = list(_with_links_that_exist([*configured, *others]))
        if spec.lock_file is not None:
            required = [option for option in required if requirement_files.is_lock_file(option.value)][:1]
        elif installer.name == "uv":
            required += [each for each in configured if each.name == "--constraint"]
        lines = {option: _file_line(option) for option in sorted(required, key=lambda each: each.name == "--editable")}
        git, in_file = _git_apart(filter(None, lines.values()), environ)
        words: Iterable[str]
        if installer.name == "uv":
            # With the first hash pip wants one of each requirement.
            is_hashed = any(each.name == "--hash" for each in given_options(spec))
            hashes = [InstallOption(name="--require-hashes")] if is_hashed else []
            words, variables = for_uv([*settings, *hashes], environ)
        else:
            variables = pip_variables(each for each in settings if each.origin or each.name in _ADDRESSES)
            words = [word for each in others if each.name not in {*_ADDRESSES, _ISOLATED} for word in each.words]
            if installer.command:  # nobody knows whose variables it reads
                variables |= for_uv(settings, environ)[1]
        words = (*words, *(word for option in required if lines[option] is None for word in option.words))
        _refuse_credentials(words)
        texts = [each.value for each in (*spec.all_options, *configured)]
        return cls(
            words=words,
            variables={**(_BESIDE_A_LOCK_FILE if spec.lock_file is not None else {}), **variables, **git},
            file_lines=tuple(in_file),
            secrets=tuple(sorted({secret for text in texts for secret in credentials.secrets_in(text)}, key=len))[::-1],
            sources=() if installer.command else _sources(spec, configured),
            asks_for_packages=any(option.name != "--constraint" for option in required),
        )

    def mask(self, text: str) -> str:
        """Return a line of the tool's output as it may be logged.

        :param text: the line.
        """
        for secret in self.secrets:
            text = text.replace(secret, credentials.MASK)
        return credentials.mask(text)


def _configuration(spec: EnvironmentSpec, installer: Installer, environ: Mapping[str, str]) -> list[InstallOption]:
    """Return the settings of pip's that an installer is configured with on this machine."""
    if any(option.name == _ISOLATED for option in spec.all_options):
        return []
    configured = pip_configuration(environ)
    if installer.name != "uv":
        return configured
    own = list(uv_configuration(environ))
    # Whoever sets a variable that uv alone reads means uv. What pip is told about its cache is about its own.
    of_uv = {"--cache-dir", "--no-cache-dir", *(each.name for each in own)}
    return [*(each for each in configured if each.name not in of_uv), *own]


def _file_line(option: InstallOption) -> str | None:
    """Return an option or requirement as a line of a requirements file; None for one that can only be a word."""
    value = option.value
    if option.requirements_file:
        return None
    if local := local_path(value):
        # One that is relative pip and uv take from elsewhere when it stands in a file.
        path = str(Path(local.path).absolute())
        if re.search(r"[\s#]", path):
            return None
        value = f"{path}{local.rest if local.rest.startswith('[') else f' {local.rest}'}".strip()
    elif value.startswith("file:"):
        return None
    return f"{option.name} {value}".strip()


def _with_links_that_exist(settings: Iterable[InstallOption]) -> Iterator[InstallOption]:
    """Yield settings, with the folders of ``--find-links`` as addresses, which have neither blanks nor commas."""
    for each in settings:
        if each.name != "--find-links" or "://" in each.value:
            yield each
        elif (folder := Path(each.value).expanduser().absolute()).exists():  # else pip passes over it
            yield replace(each, value=folder.as_uri())


def _refuse_credentials(words: Iterable[str]) -> None:
    for word in words:
        if credentials.secrets_in(word):
            raise CosmosValueError(
                f"pip_install_options: {credentials.mask(word)} holds a credential, which would stand on the command "
                "line for everybody to read. Give it in .netrc, or by a variable that the installer reads."
            )


def _sources(spec: EnvironmentSpec, configured: Iterable[InstallOption]) -> tuple[str, ...]:
    if spec.lock_file is not None:
        return (str(spec.lock_file.absolute()),)
    told: dict[str, list[str]] = {}
    for each in (*configured, *given_options(spec)):
        told.setdefault(each.name, []).append(each.value)
    places = told.get("--find-links", [])
    if "--no-index" not in told:
        places = [*told.get("--index-url", [""])[-1:], *told.get("--extra-index-url", ()), *places]
    return tuple(dict.fromkeys(map(_host, places)))


def _host(address: str) -> str:
    """Return the host of an address, or the folder of this machine that it is. No credentials."""
    if not address:
        return _DEFAULT_INDEX
    parts = urlsplit(credentials.remove(address))
    return parts.netloc or unquote(parts.path) if parts.scheme else credentials.mask(address)


def _git_apart(lines: Iterable[str], environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return variables with which git logs in, and the lines without user and password.

    git writes the address on its own command line, and a header of its configuration never. git reads its configuration
    from variables since 2.31; an older one finds no login.
    """
    headers: dict[str, str] = {}
    apart = []
    for line in lines:
        users = credentials.found_in(line) if re.search(_GIT, line) else []
        apart.append(credentials.remove(line) if users else line)
        if users:
            address = urlsplit(re.split(_GIT, apart[-1], maxsplit=1)[1].split()[0])
            user, _, password = users[0].partition(":")
            login = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
            path = address.path.partition("@")[0]
            headers[f"http.{address.scheme}://{address.netloc}{path}.extraHeader"] = f"Authorization: Basic {login}"
    if not headers:
        return {}, apart
    known = int(environ.get("GIT_CONFIG_COUNT") or 0)
    variables = {"GIT_CONFIG_COUNT": str(known + len(headers))}
    for number, (name, value) in enumerate(headers.items(), start=known):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables, apart
