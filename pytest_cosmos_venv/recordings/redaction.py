"""Secrets and absolute paths are replaced in every text and every value that goes into a recording."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from pytest_cosmos_venv.recordings.secret_values import URL_PASSWORD, is_secret_name

STARS = "*****"
_SHORT = 4
"""Values of fewer letters are replaced as whole words only: each text has them by chance."""
_SHORTEST_RUN = 8
_RUN = r"[A-Za-z0-9+/_-]*"
_BEARER = re.compile(r"(?i)(?<=\bbearer )[A-Za-z0-9._~+/=-]{8,}")
_END_OF_A_PATH = r"(?![\w.-]*[\w-])"


def encoded_forms(secret: str) -> frozenset[str]:
    """Return the forms that a secret takes inside other texts: escaped, quoted, percent-encoded, as entities, as hex.

    :param secret: the secret.
    """
    found = {secret}
    for ascii_only in (True, False):
        once = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        found |= {once, json.dumps(once, ensure_ascii=ascii_only)[1:-1]}
    shown = repr(secret)[1:-1]
    found |= {shown, json.dumps(shown)[1:-1], secret.replace("'", "\\'"), secret.replace('"', '\\"')}
    percent = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    found |= percent | {re.sub("%..", lambda code: code.group().lower(), each) for each in percent}
    found |= {html.escape(secret), html.escape(secret, quote=False), html.escape(secret).replace("&#x27;", "&#39;")}
    found |= {secret.replace("'", "''"), secret.replace('"', '""')}
    quoted = shlex.quote(secret)
    found.add(quoted[1:-1] if quoted != secret else quoted)
    if len(secret) >= _SHORT:
        as_hex = secret.encode().hex()
        found |= {as_hex, as_hex.upper()}
    return frozenset(found)


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
        parts: list[str] = []
        self._whole = set(secrets)
        forms = {form for secret in self._whole for form in encoded_forms(secret)} - {""}
        for form in sorted(forms, key=len, reverse=True):
            escaped = re.escape(form)
            parts.append(escaped if len(form) >= _SHORT else rf"(?<![A-Za-z0-9]){escaped}(?![A-Za-z0-9])")
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
        if isinstance(value, (int, float)) and not isinstance(value, bool) and json.dumps(value) in self._whole:
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
        return self.text(json.dumps(self.value(value), ensure_ascii=False, separators=(",", ":")))

    def lines(self, text: str) -> str:
        """Return a text of lines each of which may be JSON, as a JSON log is.

        :param text: the text.
        """
        if "\n{" not in f"\n{text}":
            return self.text(text)
        # Not by splitlines: JSON may hold other ends of a line as they are.
        parts = (self.document(line) if line.startswith("{") else self.text(line) for line in text.split("\n"))
        return "\n".join(parts)
