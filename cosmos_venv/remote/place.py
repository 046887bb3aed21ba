"""How is a file read that lies elsewhere, on a web server or in an object store?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from cosmos_venv.limits import Limit
from cosmos_venv.remote.copies import Copy
from cosmos_venv.remote.url import shown

WEB = ("http", "https")


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

    def read(self, *, known: Mapping[str, str] | None = None, seconds: float, limit: Limit) -> Copy | None:
        """A copy of it; None where it is still of the known version.

        :param seconds: within which all of it must be here.
        :param limit: on the wire, and when it is unpacked.
        :raises RemoteError: when it is not.
        """
        from cosmos_venv.remote import store, web

        if self._is_web:
            return web.read(self.url, self.conn_id, known=known, seconds=seconds, limit=limit)
        return store.read(self.url, self.conn_id, known=known, seconds=seconds, limit=limit)

    @property
    def _is_web(self) -> bool:
        return urlsplit(self.url).scheme.lower() in WEB
