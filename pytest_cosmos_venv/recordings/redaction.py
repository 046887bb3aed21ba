"""Redaction of a recording: secrets of the dbt run and absolute paths of the machine are found and replaced.

``fake_dbt.secret_names`` has the names and the addresses that count as secret; records of calls use it too.
"""

from __future__ import annotations

import base64
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

STARS = "*****"
_SHORT = 4
"""Shorter values are replaced as whole words only, because they occur in any text by chance."""
_SHORTEST_RUN = 8
_SHORTEST_NUMBER = 8
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_RUN = r"[A-Za-z0-9+/_-]*"
_FORMS_OF = {
    "'": ["&apos;", """'"'"'""", r"'\\''"],
    '"': ["&quot;"],
    "&": ["&amp;"],
    "<": ["&lt;"],
    ">": ["&gt;"],
    " ": [r"\+"],
    "\n": ["n", r"\r\n"],
    "\r": ["r"],
    "\t": ["t"],
}
_BEARER = re.compile(r"(?i)(?<=\bbearer )[A-Za-z0-9._~+/=-]{8,}")
_END_OF_A_PATH = r"(?![\w.-]*[\w-])"

_PARTS_OF_CONNECTION = ("password", "extra", "__extra__")
"""The secret fields of a connection. Host, login and schema are in every log and are not secret."""
_IN_EVERY_TEXT = re.compile(r"\s*(\d{1,3}|true|false|yes|no|on|off|none|null|~|\{\}|\[\]|)\s*", re.IGNORECASE)
_VARIABLE = re.compile(r"""env_var\(\s*['"]([^'"]+)['"]\s*(?:,\s*['"]([^'"]*)['"]\s*)?\)""")
_OPTION = re.compile(r"^--?[\w-]+=")
_JINJA = re.compile(r"{[{%]")
_LINE_OF_A_PEM = re.compile(r"-----(BEGIN|END) ")
_SHORTEST_LINE = 12
_SHORTEST_TOKEN = 16
"""A shorter user in a URL counts as a name, such as git, and not as a token: names occur in other texts too."""
_MOST_BYTES = 65536


def secrets_of(
    environment: Mapping[str, str], arguments: Sequence[str] = (), profiles: Iterable[Path] = ()
) -> frozenset[str]:
    """Return all values that no file of a recording may contain.

    :param environment: the environment variables of dbt.
    :param arguments: the command line of dbt.
    :param profiles: the files that may be dbt's profiles; missing files are skipped.
    """
    found = _Secrets(environment)
    for name, value in environment.items():
        if NAME_OF_CONNECTION.search(name):
            found.take_connection(value)
        elif is_secret_variable(name):
            found.take(value)
        found.take_text(value)
        found.take_tree(_as_json(value))
    for word in arguments:
        found.take_text(word)
        # In --vars={...} only the text behind the equals sign is YAML.
        found.take_tree(_as_yaml(_OPTION.sub("", word)))
    for file in profiles:
        found.take_profiles(file)
    return frozenset(each for each in found.values if not _IN_EVERY_TEXT.fullmatch(each))


class _Secrets:
    """The values that were found so far.

    :param environment: the environment variables, which a profile may name.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.values: set[str] = set()
        self._environment = environment

    def take(self, value: str) -> None:
        """Add a secret and its parts: the lines of a key, and the values in JSON.

        :param value: the secret.
        """
        self.values |= {value, value.strip(), unquote(value), unquote_plus(value)}
        lines = re.split(r"\r?\n|\\n", value)
        if len(lines) > 1:
            lines = [line.strip() for line in lines if not _LINE_OF_A_PEM.search(line)]
            self.values |= {line for line in lines if len(line) >= _SHORTEST_LINE}
        self.take_tree(_as_json(value), "secret")
        self.take_text(value)

    def take_connection(self, value: str) -> None:
        """Add the secrets of a connection: JSON or a URL; any other text is a secret as a whole.

        :param value: the connection.
        """
        parts = _as_json(value)
        if parts is None:
            parts = dict(parse_qsl(value.partition("?")[2])) if "://" in value else {"password": value}
        for name in _PARTS_OF_CONNECTION:
            part = parts.get(name)
            self.take_tree(_as_json(part) if isinstance(part, str) else part)
            if isinstance(part, str):
                # The text as a whole is a secret. Values in its JSON are secret only under secret names.
                self.values |= {part, unquote(part), unquote_plus(part)}

    def take_text(self, text: str) -> None:
        """Add the passwords and tokens of the URLs in a text.

        :param text: the text.
        """
        users = [match.group(1) for match in URL_USER.finditer(text)]
        found = [user for user in users if len(user) >= _SHORTEST_TOKEN]
        found += [match.group(2) for match in URL_PASSWORD.finditer(text)]
        queries = [part.partition("?")[2] for part in text.split()]
        found += [value for query in queries for name, value in parse_qsl(query) if is_secret_name(name)]
        for each in found:
            self.values |= {each, unquote(each), unquote_plus(each)}

    def take_profiles(self, file: Path) -> None:
        """Add the secrets of a profiles file.

        :param file: the file, which may be missing.
        """
        text = _text_of(file)
        value = _as_yaml(text)
        self.take_tree(value)
        if value is None:
            # A file with Jinja outside of quotes is no YAML; single lines still have a name and a value.
            for line in text.splitlines():
                name, colon, rest = line.strip(" -{").partition(":")
                self.take_tree(rest.strip().strip("'\",}") if colon else None, name.strip(" '\""))

    def take_tree(self, value: Any, name: str = "") -> None:
        """Add the secrets of a value from YAML or JSON.

        :param value: the value.
        :param name: the key of the value; everything below a secret key is a secret.
        """
        if isinstance(value, dict):
            for key, below in value.items():
                self.take_tree(below, name if is_secret_name(name) else str(key))
        elif isinstance(value, list):
            for each in value:
                self.take_tree(each, name)
        elif value is not None and not isinstance(value, bool) and name:
            self._take_leaf(name, str(value))

    def _take_leaf(self, name: str, value: str) -> None:
        self.take_text(value)
        if is_secret_name(name):
            for variable, default in _VARIABLE.findall(value):
                self.take(self._environment.get(variable, ""))
                self.take(default)
            if not _JINJA.search(value):
                self.take(value)
        if is_secret_name(name) or (name.endswith("_path") and "key" in name):
            # A file that a profile names: a key, or the JSON of a service account.
            text = _text_of(Path(value))
            tree = _as_yaml(text)
            if isinstance(tree, dict):
                self.take_tree(tree)
            else:
                self.take(text)


def _text_of(file: Path) -> str:
    try:
        file = file.expanduser()
        return file.read_text(encoding="utf-8") if file.is_file() and file.stat().st_size <= _MOST_BYTES else ""
    except (OSError, ValueError, RuntimeError):  # no file, no text, ~ of nobody
        return ""


def _as_yaml(text: str) -> Any:
    """Return the mapping or list in a YAML text; None where the text holds neither."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    return value if isinstance(value, (dict, list)) else None


def _as_json(text: str) -> Any:
    """Return the object in a JSON text; None where the text holds no object."""
    try:
        value = json.loads(text) if text.lstrip().startswith("{") else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def pattern_of(secret: str) -> str:
    """Return a regular expression for a secret in any encoding: escaped, quoted, percent-encoded, as HTML entities.

    Each letter may be encoded differently or several times, so the expression finds mixed and nested encodings.

    :param secret: the secret.
    """
    pattern = "".join(map(_letter, secret))
    return pattern if len(secret) >= _SHORT else rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"


def _letter(letter: str) -> str:
    if letter.isascii() and letter.isalnum():
        return letter
    code = ord(letter)
    units = [code] if code < 0x10000 else [0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code - 0x10000 & 0x3FF)]
    forms = [
        re.escape(letter),
        "".join(f"%{byte:02x}" for byte in letter.encode()),
        r"\\*".join(f"u{unit:04x}" for unit in units),
        rf"[xU]0*{code:02x}",
        rf"&\#0*{code};",
        rf"&\#x0*{code:x};",
        *_FORMS_OF.get(letter, ()),
    ]
    # Any number of escapes before it, and for a quote of SQL the quote twice.
    times = "{1,2}" if letter in "'\"" else ""
    return rf"(?i:\\*(?:{'|'.join(forms)})){times}"


def base64_runs(secret: str) -> frozenset[str]:
    """Return the parts that any Base64 text has in common when the encoded text contains the secret.

    An example is ``user:secret`` in an HTTP header. Base64 encodes three bytes at a time, so there are three such
    parts, for the three possible offsets of the secret.

    :param secret: the secret.
    """
    raw = secret.encode()
    found = set()
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        # Letters that hold bits of what stands before or behind are cut off.
        first = -(-before * 8 // 6)
        last = (before + len(raw)) * 8 // 6
        run = whole[first:last]
        if len(run) >= _SHORTEST_RUN:
            found |= {run, run.translate(str.maketrans("+/", "-_"))}
    return frozenset(found)


class Redaction:
    """The replacement of secrets and paths in the files of one command.

    :param secrets: the values that are replaced by ``*****`` in every form.
    :param paths: absolute path -> the word that stands for it.
    """

    def __init__(self, secrets: Iterable[str], paths: Mapping[str, str] | None = None) -> None:
        self._whole = set(secrets) - {""}
        parts = [pattern_of(secret) for secret in sorted(self._whole, key=len, reverse=True)]
        raw = {secret.encode().hex() for secret in self._whole if len(secret) >= _SHORT}
        parts += [f"(?i:{each})" for each in sorted(raw, key=len, reverse=True)]
        runs = {run for secret in self._whole for run in base64_runs(secret)}
        parts += [rf"{_RUN}{re.escape(run)}{_RUN}=*" for run in sorted(runs, key=len, reverse=True)]
        self._secrets = re.compile("|".join(parts)) if parts else None
        self._paths = dict(paths or {})
        places = sorted((path for path in self._paths if len(path) > 1), key=len, reverse=True)
        self._places = (
            re.compile("|".join(rf"{re.escape(path)}{_END_OF_A_PATH}" for path in places)) if places else None
        )

    def text(self, text: str) -> str:
        """Return a text without secrets and absolute paths.

        :param text: the text.
        """
        if self._secrets is not None:
            text = self._secrets.sub(STARS, text)
        text = URL_USER.sub(STARS, text)
        text = URL_PASSWORD.sub(rf"\1:{STARS}", text)
        text = _BEARER.sub(STARS, text)
        if self._places is not None:
            text = self._places.sub(lambda found: self._paths[found.group()], text)
        return text

    def value(self, value: Any, name: str = "") -> Any:
        """Return a JSON value without secrets and absolute paths.

        :param value: the value.
        :param name: the key of the value; a text under a secret key is a secret.
        """
        if isinstance(value, dict):
            return {self.text(key): self.value(below, key) for key, below in value.items()}
        if isinstance(value, list):
            return [self.value(each, name) for each in value]
        if isinstance(value, str):
            return STARS if value and is_secret_name(name) else self.text(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            number = json.dumps(value)
            # A short number is more often a row count or a duration than a secret.
            if number in self._whole and (len(number) >= _SHORTEST_NUMBER or is_secret_name(name)):
                return STARS
        return value

    def document(self, text: str) -> str:
        """Return the text of a JSON file, redacted; any other text as ``text`` does it.

        :param text: the content of the file.
        """
        try:
            value = json.loads(text)
        except ValueError:
            return self.text(text)
        # The written text is redacted again, because it has escapes inside escapes that the values do not have. Only
        # quoted parts are redacted: a replaced number would make the JSON invalid.
        written = json.dumps(self.value(value), ensure_ascii=False, separators=(",", ":"))
        return _QUOTED.sub(lambda found: f'"{self.text(found.group(1))}"', written)

    def lines(self, text: str) -> str:
        """Return a redacted text, such as a JSON log: each line may be JSON.

        :param text: the text.
        """
        if "\n{" not in f"\n{text}":
            return self.text(text)
        # splitlines would also split at characters such as U+2028, which JSON may hold unescaped.
        parts = (self.document(line) if line.startswith("{") else self.text(line) for line in text.split("\n"))
        return "\n".join(parts)
