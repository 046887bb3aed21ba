"""One file that lies elsewhere, on a web server or in an object store, by its URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from cosmos_venv.credentials import mask
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.read_limits import Limit

if TYPE_CHECKING:
    from cosmos_venv.remote.download_cache import Copy

_URL = r"[A-Za-z][A-Za-z0-9+.-]*://"
_SPOILT = r"(https?|s3a?|gc?s|adl|abfss?):/(?!/)"

WEB = ("http", "https")


def url_of(value: str | Path, parameter: str) -> str | None:
    """A value as a URL; None for a path on this machine, also as a ``file://`` URL.

    :param value: what the user has given.
    :param parameter: the name that errors give it.
    :raises CosmosValueError: for a wrong URL, and for a ``Path`` that was made of a URL, which drops a slash.
    """
    text = str(value)
    if isinstance(value, Path) and re.match(_SPOILT, text):
        raise CosmosValueError(f"{parameter}={value!r} is a URL of which Path has dropped a slash. Give a text.")
    if not re.match(_URL, text) or text.lower().startswith("file://"):
        return None
    try:
        urlsplit(text).port  # noqa: B018 - raises for a wrong port; no more is checked here
    except ValueError as error:
        raise CosmosValueError(f"{parameter}={mask(text)!r} is no URL: {error}. Correct it.") from None
    return text


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that lies elsewhere.

    :param url: its URL.
    :param conn_id: id of an Airflow connection; None: the default one of the storage, where there is any.
    """

    url: str
    conn_id: str | None = None

    def __str__(self) -> str:
        return mask(self.url)

    def exists(self, *, seconds: float) -> bool:
        """Whether the file is there, without its content.

        :param seconds: seconds within which an answer must come.
        :raises RemoteError: when nothing can be said.
        """
        from cosmos_venv.remote import http, object_store

        if self._is_web:
            return http.exists(self.url, self.conn_id, seconds=seconds)
        return object_store.exists(self.url, self.conn_id, seconds=seconds)

    def read(
        self, *, known: Mapping[str, str] | None = None, seconds: float, limit: Limit, stays: bool = False
    ) -> Copy | None:
        """A copy of the file; None where it is still of the known version.

        :param known: ``Copy.version`` of a copy that is there; None: there is none.
        :param seconds: seconds within which all of it must be here.
        :param limit: the largest size, on the wire and unpacked.
        :param stays: whether a web server's redirection to another host is refused.
        :raises RemoteError: when it cannot be had.
        """
        from cosmos_venv.remote import http, object_store

        if self._is_web:
            return http.read(self.url, self.conn_id, known=known, seconds=seconds, limit=limit, stays=stays)
        return object_store.read(self.url, self.conn_id, known=known, seconds=seconds, limit=limit)

    @property
    def _is_web(self) -> bool:
        return urlsplit(self.url).scheme.lower() in WEB
