"""The command line words of an installation, and how credentials reach the installer without standing in them.

Whoever may list processes reads command lines, so user and password of an address go by environment variables:
an option through the variable of pip or uv that means the same, a requirement through ``${…}`` in a requirements file.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cosmos_venv.environments import credentials, options
from cosmos_venv.environments.spec import EnvironmentSpec

_VARIABLE = "COSMOS_VENV_CREDENTIALS_{}"

_VARIABLES: dict[str, dict[str, str]] = {
    "pip": {
        "--index-url": "PIP_INDEX_URL",
        "--extra-index-url": "PIP_EXTRA_INDEX_URL",
        "--find-links": "PIP_FIND_LINKS",
        "--proxy": "PIP_PROXY",
    },
    "uv": {
        "--index-url": "UV_INDEX_URL",
        "--extra-index-url": "UV_EXTRA_INDEX_URL",
        "--find-links": "UV_FIND_LINKS",
        "--index": "UV_INDEX",
        "--default-index": "UV_DEFAULT_INDEX",
    },
}
_SEPARATORS = {"UV_FIND_LINKS": ","}
_ASKS_FOR_PACKAGES = {"", "--requirement", "--editable"}


@dataclass(frozen=True, kw_only=True)
class InstallArguments:
    """What to tell an installer.

    :param words: options and requirements, without any credential.
    :param variables: environment variables with the credentials that the words lack.
    :param file_lines: lines for a requirements file of its own: what has a credential, as ``${…}``.
    :param secrets: texts that must not appear in any output.
    :param asks_for_packages: whether there is anything to install.
    """

    words: tuple[str, ...]
    variables: Mapping[str, str]
    file_lines: tuple[str, ...]
    secrets: tuple[str, ...]
    asks_for_packages: bool

    @classmethod
    def of(cls, spec: EnvironmentSpec, tool: str, configured: Mapping[str, Iterable[str]]) -> InstallArguments:
        """The arguments for this tool.

        :param tool: ``uv`` or ``pip``; one of another name may use either, and gets the variables of both.
        :param configured: pip's settings (``pip_config.read``), which its variables would else replace.
        """
        given = [*options.parse(spec.pip_install_options), *_required(spec)]
        texts = [option.value or "" for option in given]
        users = list(dict.fromkeys(user for text in texts for user in credentials.found_in(text)))
        by_variable = {
            variable: name
            for each in ([tool] if tool in _VARIABLES else _VARIABLES)
            for name, variable in _VARIABLES[each].items()
            if any(option.name == name and credentials.found_in(option.value or "") for option in given)
        }
        with_variable = set(by_variable.values())
        secret = [option for option in given if _is_secret(option) and option.name not in with_variable]
        plain = [option for option in given if not _is_secret(option) and option.name not in with_variable]
        placeholders = {user: "${" + _VARIABLE.format(number) + "}" for number, user in enumerate(users)}
        values = {_VARIABLE.format(number): user for number, user in enumerate(users)} if secret else {}
        for variable, name in by_variable.items():
            inherited = [] if variable.startswith("UV_") else _additional(name, configured)
            here = [option.value or "" for option in given if option.name == name]
            values[variable] = _SEPARATORS.get(variable, " ").join([*inherited, *here])
        return cls(
            words=tuple(word for option in plain for word in option.words),
            variables=values,
            file_lines=tuple(_file_line(option, placeholders) for option in secret),
            secrets=tuple(part for user in users for part in [user, user.partition(":")[2]] if len(part) > 3),
            asks_for_packages=any(option.name in _ASKS_FOR_PACKAGES for option in given),
        )

    def mask(self, text: str) -> str:
        """A line of the tool's output as it may be logged."""
        for secret in self.secrets:
            text = text.replace(secret, credentials.MASK)
        return credentials.mask(text)


def _required(spec: EnvironmentSpec) -> list[options.InstallOption]:
    required = []
    for text in spec.requirements:
        if text.lstrip().startswith("-"):
            required += list(options.parse(shlex.split(text)))
        else:
            required.append(options.InstallOption(name="", value=text.strip(), words=(text.strip(),)))
    return required


def _is_secret(option: options.InstallOption) -> bool:
    return bool(credentials.found_in(option.value or ""))


def _additional(name: str, configured: Mapping[str, Iterable[str]]) -> list[str]:
    """What pip is configured with and would add to the option; its variable would replace it."""
    return [] if name in {"--index-url", "--proxy"} else list(configured.get(name.lstrip("-"), ()))


def _file_line(option: options.InstallOption, placeholders: dict[str, str]) -> str:
    return f"{option.name} {credentials.replace_each(option.value or '', placeholders)}".strip()
