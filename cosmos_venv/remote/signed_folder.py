"""Files that machines keep for each other, each signed with the key that they share: what is read decides what runs."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cosmos_venv.files.read_limits import Limit
from cosmos_venv.remote.download_cache import NotSigned, RemoteError
from cosmos_venv.remote.object_store import RemoteFolder

_SIGNATURE = hashlib.sha256().digest_size
_PAUSE_SECONDS = 60.0  # for which what has not answered is not asked: a task and a parse wait for it once
_TIME = 16  # digits of the time at which it was written, in microseconds

logger = logging.getLogger(__name__)


def signed(content: bytes, *, name: str, key: bytes) -> bytes:
    """Return a file with its signature: the signature (HMAC with SHA-256 over name, time and content), time, content.

    :param content: of the file.
    :param name: under which it is kept. Under another name it does not count.
    :param key: that all machines share.
    """
    dated = b"%0*d" % (_TIME, time.time_ns() // 1000) + content
    return _signature(name, dated, key) + dated


def verified(file: bytes, *, name: str, key: bytes) -> tuple[bytes, float]:
    """Return the content of a file of ``signed``, and when it was signed, in seconds since the epoch.

    :param file: as it was found.
    :param name: under which it was found.
    :param key: that all machines share.
    :raises NotSigned: when it is no such file.
    """
    signature, dated = file[:_SIGNATURE], file[_SIGNATURE:]
    if not hmac.compare_digest(signature, _signature(name, dated, key)):
        raise NotSigned
    return dated[_TIME:], int(dated[:_TIME]) / 1e6


def _signature(name: str, dated: bytes, key: bytes) -> bytes:
    return hmac.new(key, name.encode() + b"\n" + dated, hashlib.sha256).digest()


@dataclass(frozen=True, kw_only=True)
class SignedRemoteFolder(RemoteFolder):
    """A folder of an object store whose files are signed.

    :param key: returns the key that all machines share; what it raises passes.
    """

    key: Callable[[], bytes] = field(repr=False)

    def read(
        self, name: str, *, seconds: float, limit: Limit, on_wait: Callable[[], None] | None = None
    ) -> bytes | None:
        """Return the content of a file, as ``RemoteFolder`` does.

        :param name: as there.
        :param seconds: as there.
        :param limit: as there.
        :param on_wait: as there.
        :raises RemoteError: as there.
        :raises NotSigned: when nobody with the key has signed it.
        """
        found = self.read_dated(name, seconds=seconds, limit=limit, on_wait=on_wait)
        return None if found is None else found[0]

    def read_dated(
        self, name: str, *, seconds: float, limit: Limit, on_wait: Callable[[], None] | None = None
    ) -> tuple[bytes, float] | None:
        """Return the content of a file, and when it was written, in seconds since the epoch; otherwise as ``read``.

        :param name: as there.
        :param seconds: as there.
        :param limit: as there.
        :param on_wait: as there.
        """
        key = self.key()
        found = super().read(name, seconds=seconds, limit=limit, on_wait=on_wait)
        return None if found is None else verified(found, name=name, key=key)

    def write(self, name: str, content: bytes, *, seconds: float, on_wait: Callable[[], None] | None = None) -> None:
        """Keep a file, as ``RemoteFolder`` does.

        :param name: as there.
        :param content: as there.
        :param seconds: as there.
        :param on_wait: as there.
        :raises RemoteError: as there.
        """
        content = signed(content, name=name, key=self.key())
        super().write(name, content, seconds=seconds, on_wait=on_wait)


@dataclass(kw_only=True)
class SignedFolder:
    """A folder of an object store. What goes wrong is one warning in the log, and then nothing is there.

    :param folder: where the files are kept.
    :param seconds: seconds within which each answer must come.
    :param limit: the largest content.
    """

    folder: SignedRemoteFolder
    seconds: float
    limit: Limit
    _out_until: float = field(default=0.0, init=False)

    def read(self, name: str) -> tuple[bytes, float] | None:
        """Return the content of a file, and when it was written, in seconds since the epoch; None when there is none.

        :param name: of the file.
        """
        if time.monotonic() < self._out_until:
            return None
        try:
            return self.folder.read_dated(name, seconds=self.seconds, limit=self.limit)
        except RemoteError as error:
            self._give_up(error)
        except NotSigned as error:
            logger.warning("%s/%s is not used: %s.", self.folder, name, error)
        return None

    def write(self, name: str, content: bytes) -> None:
        """Keep a file for other machines.

        :param name: of the file.
        :param content: its bytes.
        """
        if time.monotonic() < self._out_until or self.limit.is_exceeded_by(len(content)):  # nobody would read it
            return
        try:
            self.folder.write(name, content, seconds=self.seconds)
        except RemoteError as error:
            self._give_up(error)

    def _give_up(self, error: RemoteError) -> None:
        self._out_until = time.monotonic() + _PAUSE_SECONDS
        logger.warning("%s is of no use now: %s.", self.folder, error)
