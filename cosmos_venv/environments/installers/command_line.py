"""The arguments of an installer, so that no address stands on a command line, which everybody may read.

A credential may be user and password, a token in a query, or a whole address that nobody can take apart. Requirements
go into a requirements file, addresses of indexes and proxies into environment variables.
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cosmos_venv import credentials
from cosmos_venv.environments import requirement_files
from cosmos_venv.environments.installers.choice import Installer, given_settings
from cosmos_venv.environments.installers.pip_config import Setting, pip_configuration
from cosmos_venv.environments.requirement_files import InstallOption, local_path
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.exceptions import CosmosValueError

_REQUIREMENTS = {"", "--requirement", "--constraint", "--editable"}
# Variables of pip, and of uv, by the setting. An address may hold a credential, so it is no word of a command line.
_PIP_VARIABLES = {
    "index-url": "PIP_INDEX_URL",
    "extra-index-url": "PIP_EXTRA_INDEX_URL",
    "find-links": "PIP_FIND_LINKS",
    "proxy": "PIP_PROXY",
}
_UV_VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX",),
    "extra-index-url": ("UV_EXTRA_INDEX_URL",),
    "find-links": ("UV_FIND_LINKS",),
    "trusted-host": ("UV_INSECURE_HOST",),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "proxy": ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
    "timeout": ("UV_HTTP_TIMEOUT",),
    "retries": ("UV_HTTP_RETRIES",),
}
_UV_WORDS = {
    "no-index": "--no-index",
    "upgrade": "--upgrade",
    "no-deps": "--no-deps",
    "pre": "--prerelease=allow",
    "require-hashes": "--require-hashes",
    "hash": "--require-hashes",  # with the first one pip wants one of each requirement
    "only-binary": "--only-binary={}",
    "no-binary": "--no-binary={}",
    "cache-dir": "--cache-dir={}",
    "no-cache-dir": "--no-cache",
}
_LISTS = {"extra-index-url", "find-links", "trusted-host"}
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS")
# uv takes no constraints and overrides beside a lock file, which was made under them.
_BESIDE_A_LOCK_FILE = {"UV_CONSTRAINT": "", "UV_OVERRIDE": ""}
_GIT = r"git\+(?=https?://)"
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
        given = [*requirement_files.parse(spec.pip_install_options), *_required(spec)]
        configured = pip_configuration(environ)
        if installer.name == "uv":
            configured = [each for each in configured if not _is_told_by_uvs_own_variable(each, environ)]
        required = [option for option in given if option.name in _REQUIREMENTS]
        others = [option for option in given if option.name not in _REQUIREMENTS]
        settings = [Setting(name=option.name[2:], value=option.value or "") for option in others]
        if spec.lock_file is not None:
            required = [option for option in required if requirement_files.is_lock_file(option.value or "")][:1]
        elif installer.name == "uv":
            limits = (f"--constraint={each.value}" for each in configured if each.name == "constraint")
            required += requirement_files.parse(limits)
        lines = {option: _file_line(option) for option in sorted(required, key=lambda each: each.name == "--editable")}
        git, in_file = _git_apart(filter(None, lines.values()), environ)
        if installer.name == "uv":
            # What pip is configured with about its cache is about its own.
            of_machine = [each for each in configured if each.name not in ("cache-dir", "no-cache-dir")]
            hashes = [each for each in given_settings(spec) if each.name == "hash"]
            words, places = _for_uv([*of_machine, *settings, *hashes], environ)
        else:
            words, places = _for_pip(others, settings, configured)
            if installer.command:  # nobody knows whose variables it reads
                of_uv = _for_uv([each for each in settings if each.name in _PIP_VARIABLES], environ)[1]
                places |= {name: value for name, value in of_uv.items() if name.startswith("UV_")}
        words = (*words, *(word for option in required if lines[option] is None for word in option.words))
        _refuse_credentials(words)
        texts = [*(option.value or "" for option in given), *(setting.value for setting in configured)]
        return cls(
            words=words,
            variables={**(_BESIDE_A_LOCK_FILE if spec.lock_file is not None else {}), **places, **git},
            file_lines=tuple(in_file),
            secrets=tuple(sorted({secret for text in texts for secret in credentials.secrets_in(text)}, key=len))[::-1],
            sources=() if installer.command else _sources(spec, installer, configured, environ),
            asks_for_packages=any(option.name != "--constraint" for option in required),
        )

    def mask(self, text: str) -> str:
        """Return a line of the tool's output as it may be logged.

        :param text: the line.
        """
        for secret in self.secrets:
            text = text.replace(secret, credentials.MASK)
        return credentials.mask(text)


def _is_told_by_uvs_own_variable(setting: Setting, environ: Mapping[str, str]) -> bool:
    """Return whether a variable that uv alone reads says the same: whoever sets it means uv."""
    names = _UV_VARIABLES.get(setting.name, ())
    return any(environ.get(name) for name in names if name.startswith("UV_"))


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
    if option.names_requirements_file:
        return f"{option.name} {value}" if "://" in value else None
    if local := local_path(value):
        # One that is relative pip and uv take from elsewhere when it stands in a file.
        path = str(Path(local.path).absolute())
        if re.search(r"[\s#]", path):
            return None
        value = f"{path}{local.rest if local.rest.startswith('[') else f' {local.rest}'}".strip()
    elif value.startswith("file:"):
        return None
    return f"{option.name} {value}".strip()


def _for_uv(settings: Iterable[Setting], environ: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return words and variables by which uv is told pip's settings, later ones of a kind in place of earlier ones."""
    values: dict[str, list[str]] = {}
    words = []
    for setting in settings:
        if setting.name in _UV_WORDS:
            words.append(_UV_WORDS[setting.name].format(setting.value))
        values.setdefault(setting.name, []).append(setting.value)
    # pip passes over a folder that is not there. Of equal versions it takes the last index's, and uv the first one's.
    values["find-links"] = [link for link in map(_link, values.get("find-links", ())) if link]
    values["extra-index-url"] = values.get("extra-index-url", [])[::-1]
    values["proxy"] = [each if "://" in each else f"http://{each}" for each in values.get("proxy", ())]
    # pip reads these before --cert, and uv reads none of them.
    bundles = [environ[name] for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE") if environ.get(name)]
    values["cert"] = [*values.get("cert", ()), *bundles]
    variables = {}
    for name, variables_of in _UV_VARIABLES.items():
        if found := values.get(name):
            told = ("," if name == "find-links" else " ").join(found) if name in _LISTS else found[-1]
            variables.update(dict.fromkeys(variables_of, told))
    if not any(name in {*environ, *variables} for name in _CERTIFICATES):
        # pip trusts the certificates of the system too. The second is the name that an older uv knows.
        variables |= {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}
    return tuple(dict.fromkeys(words)), variables


def _for_pip(
    others: Iterable[InstallOption], settings: Sequence[Setting], configured: Sequence[Setting]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return words and variables for pip. Its variables replace what it is configured with; its options add to that."""
    variables = {}
    for name, variable in _PIP_VARIABLES.items():
        if given := [setting.value for setting in settings if setting.name == name]:
            before = [setting.value for setting in configured if setting.name == name]
            links = filter(None, map(_link, [*before, *given])) if name == "find-links" else [*before, *given]
            variables[variable] = " ".join(links) if name in _LISTS else given[-1]
    if variables and any(setting.name == "isolated" for setting in settings):
        # The addresses were lost, and a package of that name from the public index was installed.
        raise CosmosValueError(
            "pip_install_options: with --isolated pip reads no variable, and so no address that it is given here "
            f"({', '.join(variables)}). Leave it out; PIP_CONFIG_FILE=/dev/null keeps pip from its files."
        )
    return tuple(word for option in others if option.name[2:] not in _PIP_VARIABLES for word in option.words), variables


def _link(value: str) -> str:
    """Return the address of a folder or page of links, without blanks or commas; empty where there is no folder."""
    if "://" in value:
        return value
    path = Path(value).expanduser().absolute()
    return path.as_uri() if path.exists() else ""


def _refuse_credentials(words: Iterable[str]) -> None:
    for word in words:
        if credentials.secrets_in(word):
            raise CosmosValueError(
                f"pip_install_options: {credentials.mask(word)} holds a credential, which would stand on the command "
                "line for everybody to read. Give it in .netrc, or by a variable that the installer reads."
            )


def _sources(
    spec: EnvironmentSpec, installer: Installer, configured: Iterable[Setting], environ: Mapping[str, str]
) -> tuple[str, ...]:
    if spec.lock_file is not None:
        return (str(spec.lock_file.absolute()),)
    settings = [*configured, *given_settings(spec)]

    def of(name: str) -> list[str]:
        told = [setting.value for setting in settings if setting.name == name]
        own = [environ.get(each, "") for each in _UV_VARIABLES[name]] if installer.name == "uv" and not told else []
        return told or [each for text in own for each in text.replace(",", " ").split()]

    places = of("find-links")
    if not any(setting.name == "no-index" for setting in settings):
        places = [*(of("index-url")[-1:] or [""]), *of("extra-index-url"), *places]
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
