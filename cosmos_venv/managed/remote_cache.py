"""What a fresh worker would otherwise make anew, from other machines, where a setting asks for it.

They lie below ``remote_cache_dir``, each kind in a folder of its own, and are signed.
"""

from __future__ import annotations

import logging
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

from cosmos_venv import settings
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from cosmos_venv.remote.signed_folder import SignedFolder

Kind = Literal["packages", "parse_files", "plans"]

logger = logging.getLogger(__name__)


class RemoteCache:
    """The files of one kind that machines share. Nothing is asked, and no key is read, before the first file is wanted.

    :param kind: of the files.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def read(self, name: str) -> tuple[bytes, float] | None:
        """Return the content of a file, and when it was written, in seconds since the epoch; None when there is none.

        :param name: of the file.
        """
        return self._folder.read(name) if self._folder else None

    def write(self, name: str, content: bytes) -> None:
        """Keep a file for other machines.

        :param name: of the file.
        :param content: its bytes.
        """
        if self._folder:
            self._folder.write(name, content)

    @cached_property
    def _folder(self) -> SignedFolder | None:
        # Every parse of a DAG file comes by this module.
        from cosmos_venv.managed.signing_key import NoKey, signing_key
        from cosmos_venv.remote.object_store import RemoteFolder
        from cosmos_venv.remote.signed_folder import SignedFolder

        try:
            key = signing_key()
        except NoKey as error:
            logger.warning("[cosmos_venv] remote_cache_%s does nothing: %s.", self._kind, error)
            return None
        if not (key and settings.remote_cache_dir):
            raise CosmosValueError(
                f"[cosmos_venv] remote_cache_{self._kind} is on, and it needs remote_cache_dir, and a key that all "
                "workers share: remote_key_conn_id or remote_key_file. Set them, or switch it off."
            )
        return SignedFolder(
            folder=RemoteFolder(
                url=f"{settings.remote_cache_dir.rstrip('/')}/{self._kind.replace('_', '-')}-v1",
                conn_id=settings.remote_cache_dir_conn_id or None,
            ),
            key=key,
            seconds=settings.remote_cache_timeout,
            limit=settings.limit("artifact_max_bytes"),
        )


def remote_cache(kind: Kind) -> RemoteCache | None:
    """Return the files of one kind that machines share; None where the setting ``remote_cache_<kind>`` is off.

    :param kind: of the files.
    """
    if not getattr(settings, f"remote_cache_{kind}"):
        return None
    where = (settings.remote_cache_dir, settings.remote_cache_dir_conn_id)
    return _cache_of(kind, *where, settings.remote_key_conn_id, settings.remote_key_file)


@lru_cache(maxsize=16)
def _cache_of(kind: Kind, *_: str) -> RemoteCache:
    # One for a process: a storage that does not answer is waited for once, however many DAGs a file has.
    return RemoteCache(kind)
