"""Where does a file lie: on this machine, on a web server, in an object store?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cosmos_venv.environments.credentials import mask
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.remote.copies import Copy

WEB = ("http", "https")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SPOILT = re.compile(r"(https?|s3a?|gc?s|adl|abfss?):/(?!/)")


def url_of(value: str | Path, parameter: str) -> str | None:
    """The value as a URL; None for a path on this machine, which ``file://`` leads to also.

    :raises CosmosValueError: for a URL that was made a ``Path`` of, which drops a slash.
    """
    text = str(value)
    if isinstance(value, Path) and _SPOILT.match(text):
        raise CosmosValueError(f"{parameter}={value!r} is a URL of which Path has dropped a slash. Give a text.")
    if not _URL.match(text) or text.startswith("file://"):
        return None
    return text


def shown(url: str) -> str:
    """The URL as it may be logged: without user, password and query, which may be a signature."""
    masked, has_query, _ = mask(url).partition("?")
    return f"{masked}?…" if has_query else masked


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """:param conn_id: id of an Airflow connection; None: the default one of the storage, where there is any."""

    url: str
    conn_id: str | None = None

    def __str__(self) -> str:
        return shown(self.url)

    def exists(self, *, seconds: float) -> bool:
        """Whether it is there, without its content.

        :param seconds: within which an answer must come.
        :raises RemoteError: when nothing can be said.
        """
        from cosmos_venv.remote import store, web

        if self._is_web:
            return web.exists(self.url, self.conn_id, seconds=seconds)
        return store.exists(self.url, self.conn_id, seconds=seconds)

    def read(self, *, known: Mapping[str, str] | None = None, seconds: float) -> Copy | None:
        """A copy of it; None where it is still of the known version.

        :param seconds: within which all of it must be here.
        :raises RemoteError: when it is not.
        """
        from cosmos_venv.remote import store, web

        if self._is_web:
            return web.read(self.url, self.conn_id, known=known, seconds=seconds)
        return store.read(self.url, self.conn_id, known=known, seconds=seconds)

    @property
    def _is_web(self) -> bool:
        return urlsplit(self.url).scheme.lower() in WEB
