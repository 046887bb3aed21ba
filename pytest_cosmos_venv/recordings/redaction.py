"""Secrets and absolute paths are replaced in every text and every value that goes into a recording."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_cosmos_venv.fake_dbt.secret_names import URL_PASSWORD, URL_USER, is_secret_name

STARS = "*****"
_SHORT = 4
"""Values of fewer letters are replaced as whole words only: each text has them by chance."""
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


def pattern_of(secret: str) -> str:
    """Return a regular expression for a secret as other texts have it: escaped, quoted, percent-encoded, as entities.

    Each letter may be in a form of its own, so that every mixture is met, and forms inside forms.

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
    """Return what is in a Base64 text whatever stands before and behind the secret in what was encoded.

    ``user:secret`` of an HTTP header is such a text.

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
    """What is replaced in the files of one command.

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
        """Return what JSON has held without secrets and absolute paths.

        :param value: the value.
        :param name: the key that it stands under; a text under the name of a secret is one.
        """
        if isinstance(value, dict):
            return {self.text(key): self.value(below, key) for key, below in value.items()}
        if isinstance(value, list):
            return [self.value(each, name) for each in value]
        if isinstance(value, str):
            return STARS if value and is_secret_name(name) else self.text(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            number = json.dumps(value)
            # A short one is a count of rows, or a second, more often than a secret.
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
        # Once more as a text: an escape inside an escape is no form that values have.
        # Not outside of quotes: there are numbers, and JSON would not stay JSON.
        written = json.dumps(self.value(value), ensure_ascii=False, separators=(",", ":"))
        return _QUOTED.sub(lambda found: f'"{self.text(found.group(1))}"', written)

    def lines(self, text: str) -> str:
        """Return a text of lines each of which may be JSON, as a JSON log is.

        :param text: the text.
        """
        if "\n{" not in f"\n{text}":
            return self.text(text)
        # Not by splitlines: JSON may hold other ends of a line as they are.
        parts = (self.document(line) if line.startswith("{") else self.text(line) for line in text.split("\n"))
        return "\n".join(parts)
