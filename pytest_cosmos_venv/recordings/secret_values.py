"""Where a run of dbt has its secrets: variables, profiles, the command line, and files that profiles name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus

import yaml

from pytest_cosmos_venv.fake_dbt.secret_names import (
    NAME_OF_CONNECTION,
    URL_PASSWORD,
    URL_USER,
    is_secret_name,
    is_secret_variable,
)

_PARTS_OF_CONNECTION = ("password", "extra", "__extra__")
_SHORT_NUMBER = re.compile(r"\d{1,3}")
_VARIABLE = re.compile(r"""env_var\(\s*['"]([^'"]+)['"]\s*(?:,\s*['"]([^'"]*)['"]\s*)?\)""")
_IS_OPTION = re.compile(r"--?[\w-]+=")
_IS_JINJA = re.compile(r"{[{%]")
_TRIVIAL = frozenset("0 1 true false yes no on off none null ~ {} []".split())
_SHORTEST_LINE = 12
_SHORTEST_TOKEN = 16
_MOST_BYTES = 65536
_LINE_OF_A_PEM = re.compile(r"-----(BEGIN|END) ")


def secrets_of(
    environment: Mapping[str, str], arguments: Sequence[str] = (), profiles: Iterable[Path] = ()
) -> frozenset[str]:
    """Return all values that may stand in no file of a recording.

    :param environment: the environment variables of dbt.
    :param arguments: its command line.
    :param profiles: the files that may be its profiles; those that are not there are passed over.
    """
    found = _Finder(environment)
    for name, value in environment.items():
        found.take_named(name, value)
    for word in arguments:
        found.take_text(word)
        # --vars={...} is no YAML, what stands behind its sign is.
        value = _as_yaml(word.partition("=")[2] if _IS_OPTION.match(word) else word)
        if isinstance(value, (dict, list)):
            found.take_tree(value)
    for file in profiles:
        found.take_profiles(file)
    return frozenset(each for each in found.values if not _is_in_every_text(each.strip()))


class _Finder:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self.values: set[str] = set()
        self._environment = environment

    def take_named(self, name: str, value: str) -> None:
        if NAME_OF_CONNECTION.search(name):
            self._take_connection(value)
        elif is_secret_variable(name):
            self._add(value)
        self.take_text(value)
        if value.lstrip().startswith("{"):
            self.take_tree(_as_yaml(value))

    def _take_connection(self, value: str) -> None:
        """Take the secrets out of a connection. Host, login and schema stand in every log, and are none."""
        tree = _as_json(value)
        if isinstance(tree, dict):
            parts = {name: below for name, below in tree.items() if str(name).lower() in _PARTS_OF_CONNECTION}
        elif "://" in value:
            parts = {name: below for name, below in parse_qsl(value.partition("?")[2]) if name in _PARTS_OF_CONNECTION}
        else:
            self._add(value)
            return
        for name, part in parts.items():
            extra = _as_json(part) if isinstance(part, str) and name != "password" else part
            if isinstance(extra, dict):
                self.take_tree(extra)
            if isinstance(part, str):
                # The text as it stands; what JSON in it has under plain names is no secret.
                self.values |= {part, unquote(part), unquote_plus(part)}
            elif not isinstance(part, dict):
                self.take_tree(part, "password")

    def take_text(self, text: str) -> None:
        """Take the passwords and the tokens out of the addresses in a text.

        :param text: the text.
        """
        for match in URL_USER.finditer(text):
            # A shorter user is a name, such as git, which other texts have too.
            if len(match.group(1)) >= _SHORTEST_TOKEN:
                self._add(match.group(1))
        for match in URL_PASSWORD.finditer(text):
            self._add(match.group(2))
        for _, _, query in (part.partition("?") for part in text.split() if "?" in part):
            for name, value in parse_qsl(query):
                if is_secret_name(name):
                    self._add(value)

    def take_profiles(self, file: Path) -> None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return
        value = _as_yaml(text)
        if isinstance(value, (dict, list)):
            self.take_tree(value)
            return
        # Jinja outside of quotes is no YAML; line by line it still has its names.
        for line in text.splitlines():
            name, colon, rest = line.strip(" -{").partition(":")
            if colon:
                self._take_leaf(name.strip(" '\""), rest.strip().strip("'\",}"))

    def take_tree(self, value: Any, name: str = "") -> None:
        """Take the secrets out of what YAML or JSON has held.

        :param value: the value.
        :param name: the name that it goes by; of what lies below a secret name everything is one.
        """
        if isinstance(value, dict):
            for key, below in value.items():
                self.take_tree(below, name if is_secret_name(name) else str(key))
        elif isinstance(value, list):
            for each in value:
                self.take_tree(each, name)
        elif value is not None and not isinstance(value, bool):
            self._take_leaf(name, str(value))

    def _take_leaf(self, name: str, value: str) -> None:
        self.take_text(value)
        if not is_secret_name(name):
            if name.endswith("_path") and "key" in name:
                self._take_file(value)
            return
        for variable, default in _VARIABLE.findall(value):
            self._add(self._environment.get(variable, ""))
            self._add(default)
        if not _IS_JINJA.search(value):
            self._add(value)
            self._take_file(value)

    def _take_file(self, path: str) -> None:
        """Take the secrets out of a file that a profile names: a key, or the JSON of a service account."""
        file = Path(path).expanduser()
        try:
            if not file.is_file() or file.stat().st_size > _MOST_BYTES:
                return
            text = file.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return
        value = _as_yaml(text)
        if isinstance(value, dict):
            self.take_tree(value)
        else:
            self._add(text)

    def _add(self, value: str) -> None:
        if not value:
            return
        self.values |= {value, value.strip(), unquote(value), unquote_plus(value)}
        lines = re.split(r"\r?\n|\\n", value)
        if len(lines) > 1:
            # A log shows a key line by line.
            lines = [line.strip() for line in lines if not _LINE_OF_A_PEM.search(line)]
            self.values |= {line for line in lines if len(line) >= _SHORTEST_LINE}
        if value.lstrip().startswith("{"):
            tree = _as_json(value)
            if isinstance(tree, dict):
                self.take_tree(tree, "secret")
        self.take_text(value)


def _is_in_every_text(value: str) -> bool:
    return not value or value.lower() in _TRIVIAL or bool(_SHORT_NUMBER.fullmatch(value))


def _as_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
