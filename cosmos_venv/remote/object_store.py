"""Files of object stores, read and written through Airflow's own object storage.

Files that machines keep for each other are signed with the key that they share: what is read decides what runs.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from cosmos_venv.compat import get_connection, object_storage_path
from cosmos_venv.credentials import mask
from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.files.read_limits import Limit, UnfitFileError, read_pieces
from cosmos_venv.remote.download_cache import Copy, NotSigned, RemoteError, within

T = TypeVar("T")

# For each storage: the connection that Airflow's hook takes by default, and the package to install.
_AMAZON = ("aws_default", "apache-airflow-providers-amazon[s3fs]")
_GOOGLE = ("google_cloud_default", "apache-airflow-providers-google")
_MICROSOFT = ("wasb_default", "apache-airflow-providers-microsoft-azure")
_STORAGES = {
    **dict.fromkeys(("s3", "s3a", "s3n"), _AMAZON),
    **dict.fromkeys(("gs", "gcs"), _GOOGLE),
    **dict.fromkeys(("adl", "abfs", "abfss"), _MICROSOFT),
}
# The names by which these storages give a version, and the time of the last change.
_VERSIONS = ("ETag", "etag", "md5Hash", "content_md5")
_TIMES = ("LastModified", "last_modified", "updated", "mtime")

_PIECE = 4 << 20
_SIGNATURE = hashlib.sha256().digest_size
_PAUSE_SECONDS = 60.0  # without requests after a failure: a task or a parse waits for it once
_TIME = 16  # digits of the time at which it was written, in microseconds

logger = logging.getLogger(__name__)


def exists(url: str, conn_id: str | None, *, seconds: float) -> bool:
    """Whether a store has a file.

    :param url: the URL of the file.
    :param conn_id: id of an Airflow connection; None: the default one of the storage, where there is any.
    :param seconds: seconds within which an answer must come.
    :raises RemoteError: when nothing can be said.
    """
    return _asked(lambda place: bool(place.exists()), url, conn_id, seconds)


def read(
    url: str, conn_id: str | None, *, known: Mapping[str, str] | None, seconds: float, limit: Limit
) -> Copy | None:
    """A copy of a file; None where the store says that the file has not changed since the known version.

    :param url: the URL of the file.
    :param conn_id: id of an Airflow connection; None: the default one of the storage, where there is any.
    :param known: ``Copy.version`` of a copy that is there; None: there is none.
    :param seconds: seconds within which an answer must come.
    :param limit: the largest size, packed or unpacked by the storage.
    :raises RemoteError: when it cannot be had.
    """

    def copy_of(place: Any) -> Copy | None:
        place.fs.invalidate_cache()  # it may be from the parse of another DAG file
        info = place.fs.info(place.path)
        version = _version(info)
        if version and version == known:
            return None
        return Copy(content=content_of(place, limit, info), version=version)

    return _asked(copy_of, url, conn_id, seconds)


def content_of(place: Any, limit: Limit, info: Mapping[str, Any] | None = None) -> bytes:
    """The content of a file of an object store.

    :param place: the file, as a path of Airflow's.
    :param limit: the largest size, packed or unpacked by the storage.
    :param info: what the file system has said of the file; None: it is asked.
    :raises UnfitFileError: when the file is larger than the limit.
    """
    size = (place.fs.info(place.path) if info is None else info).get("size")
    with place.fs.open(place.path, "rb") as file:
        expected = size if isinstance(size, int) else 0
        return read_pieces(lambda length: bytes(file.read(length)), expected=expected, limit=limit, where=str(place))


def place_of(url: str, conn_id: str | None) -> Any:
    """A file or folder as a path of Airflow's, with its connection.

    :param url: its URL.
    :param conn_id: id of an Airflow connection; None: the default one of the storage, where there is any.
    :raises RemoteError: when Airflow cannot reach such a storage, with what to install.
    """
    scheme = urlsplit(url).scheme.lower()
    _, package = _STORAGES.get(scheme, (None, None))
    try:
        place = object_storage_path(url, connection_of(url, conn_id))
        place.fs  # noqa: B018 - raises when the provider is not installed
    except (ImportError, ValueError) as error:
        way_out = f"Install {package}" if package else "Install the Airflow provider of that storage"
        raise RemoteError(
            f"Airflow cannot read {scheme}://: {mask(str(error))}. {way_out}", has_answered=True
        ) from error
    except Exception as error:
        raise error_of(error) from error
    return place


def connection_of(url: str, conn_id: str | None) -> str | None:
    """Return the id of the connection by which a file is reached; None where the storage's own credentials count.

    :param url: its URL.
    :param conn_id: id that the user has given; None: none.
    """
    default, _ = _STORAGES.get(urlsplit(url).scheme.lower(), (None, None))
    if conn_id or not default:
        return conn_id
    try:
        get_connection(default)
    except Exception:  # noqa: BLE001 - each Airflow raises another error; the storage's own credentials count then
        return None
    return default


def _asked(
    question: Callable[[Any], T],
    url: str,
    conn_id: str | None,
    seconds: float,
    on_wait: Callable[[], None] | None = None,
) -> T:
    # The connection is looked up here and not in the new thread: Airflow answers only the thread that parses.
    place = place_of(url, conn_id)
    try:
        return within(seconds, lambda: question(place), on_wait=on_wait)
    except (RemoteError, CommandKilled):
        raise
    except Exception as error:
        raise error_of(error) from error


def error_of(error: Exception) -> RemoteError:
    """The error of a storage, in its words but without credentials.

    :param error: what the storage has raised.
    """
    if isinstance(error, UnfitFileError):
        return RemoteError(str(error.strerror), has_answered=True)
    has_answered = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)
    return RemoteError(f"{type(error).__name__}: {mask(str(error))}", has_answered=has_answered)


def _version(info: Mapping[str, Any]) -> dict[str, str]:
    if version := next((info[name] for name in _VERSIONS if info.get(name)), None):
        return {"version": str(version)}
    changed = next((info[name] for name in _TIMES if info.get(name) is not None), None)
    return {} if changed is None else {"version": f"{changed} {info.get('size')}"}


def _written(info: Mapping[str, Any], *, unknown: float) -> float:
    """Return when a file was written, in seconds since the epoch; ``unknown`` where its storage does not say."""
    for value in map(info.get, _TIMES):
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):  # Google's ``updated`` is a text beside ``mtime``
            return value
    return unknown


@dataclass(frozen=True, kw_only=True)
class RemoteFolder:
    """A folder in which files are kept for other machines.

    :param url: of an object store that Airflow knows, or a path.
    :param conn_id: id of an Airflow connection; None: the default one of the storage, where there is any.
    :param key: returns the key that all machines share, and by which `read` and `write` verify and sign files; what it
        raises passes. None: files are not signed.
    """

    url: str
    conn_id: str | None = None
    key: Callable[[], bytes] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return mask(self.url)

    def read(
        self, name: str, *, seconds: float, limit: Limit, on_wait: Callable[[], None] | None = None
    ) -> bytes | None:
        """A file's content; None when there is none.

        :param name: the name of the file.
        :param seconds: seconds within which all of it must be here.
        :param limit: the largest size.
        :param on_wait: called several times a second meanwhile; what it raises ends the waiting.
        :raises RemoteError: when nothing can be said within that time, or it is longer than the limit.
        :raises NotSigned: when nobody with the key has signed it.
        """
        found = self.read_dated(name, seconds=seconds, limit=limit, on_wait=on_wait)
        return None if found is None else found[0]

    def read_dated(
        self, name: str, *, seconds: float, limit: Limit, on_wait: Callable[[], None] | None = None
    ) -> tuple[bytes, float] | None:
        """Return the content of a file, and when it was signed, in seconds since the epoch; otherwise as ``read``.

        :param name: as for ``read``.
        :param seconds: as for ``read``.
        :param limit: as for ``read``.
        :param on_wait: as for ``read``.
        :returns: None when there is no file; the time is 0 where files are not signed.
        """

        def content(folder: Any) -> bytes | None:
            folder.fs.invalidate_cache()
            try:
                return content_of(folder / name, limit)
            except FileNotFoundError:
                return None

        key = self.key and self.key()
        found = self.ask(content, seconds, on_wait)
        if found is None or key is None:
            return None if found is None else (found, 0.0)
        return verified(found, name=name, key=key)

    def write(self, name: str, content: bytes, *, seconds: float, on_wait: Callable[[], None] | None = None) -> None:
        """Write a file, atomically for its readers.

        :param name: the name of the file.
        :param content: its bytes.
        :param seconds: seconds within which it must be done.
        :param on_wait: called several times a second meanwhile; what it raises ends the waiting.
        :raises RemoteError: when it could not be done within that time.
        """
        file = content if self.key is None else signed(content, name=name, key=self.key())
        self.ask(lambda folder: _put(folder, name, lambda place: place.write_bytes(file)), seconds, on_wait)

    def download(
        self, name: str, file: Path, *, size: int, seconds: float, on_wait: Callable[[], None] | None = None
    ) -> bool:
        """Copy a file to this machine, and return whether it is there and has that size.

        :param name: the name of the file.
        :param file: where it is made.
        :param size: that it must have, in bytes.
        :param seconds: seconds within which all of it must be here.
        :param on_wait: called several times a second meanwhile; what it raises ends the waiting.
        :raises RemoteError: when it does not come within that time.
        """
        is_given_up = threading.Event()

        def copy(folder: Any) -> bool:
            folder.fs.invalidate_cache()
            path = (folder / name).path
            try:
                if folder.fs.info(path).get("size") != size:
                    return False
                with folder.fs.open(path, "rb") as source, file.open("wb") as target:
                    # Without this check the thread would go on after its time, and fill the disk with a removed file.
                    while not is_given_up.is_set() and (piece := source.read(_PIECE)):
                        target.write(piece)
            except FileNotFoundError:
                return False
            return True

        try:
            return self.ask(copy, seconds, on_wait)
        finally:
            is_given_up.set()

    def upload(self, file: Path, name: str, *, seconds: float, on_wait: Callable[[], None] | None = None) -> None:
        """Copy a file of this machine into the folder, atomically for its readers.

        :param file: where it stands.
        :param name: the name that it gets.
        :param seconds: seconds within which it must be done.
        :param on_wait: called several times a second meanwhile; what it raises ends the waiting.
        :raises RemoteError: when it could not be done within that time.
        """
        self.ask(
            lambda folder: _put(folder, name, lambda place: place.fs.put_file(str(file), place.path)), seconds, on_wait
        )

    def files(self, *, seconds: float, limit: Limit) -> dict[str, str]:
        """All files below the folder by their paths in it, each with a text that differs when the file changes.

        :param seconds: seconds within which an answer must come.
        :param limit: the largest size of all files together.
        :raises RemoteError: when the files cannot be listed or are too large, when the storage does not show changes of
            a file, when a path leads out of the folder, and when there is no file.
        """

        def look(folder: Any) -> dict[str, str]:
            folder.fs.invalidate_cache()
            top = f"{folder.path.rstrip('/')}/"
            found = {path.removeprefix(top): info for path, info in folder.fs.find(folder.path, detail=True).items()}
            size = sum(info.get("size") or 0 for info in found.values())
            if limit.is_exceeded_by(size):
                raise RemoteError(f"all its files together: {limit.refusal(size)}", has_answered=True)
            # A name with a slash at its end stands for a folder.
            versions = {name: _version(info).get("version") for name, info in found.items() if name[-1:] not in "/"}
            known = {name: text for name, text in versions.items() if text and not {"", ".."} & {*name.split("/")}}
            if not known or known != versions:
                odd = next((name for name in versions if name not in known), None)
                reason = f"its file {odd!r} leads out of it, or has neither a checksum nor a time"
                raise RemoteError("there are no files" if odd is None else reason, has_answered=True)
            return known

        return self.ask(look, seconds)

    def copy(self, names: Iterable[str], target: Path, *, seconds: float) -> None:
        """Copy files to this machine.

        :param names: of ``files``.
        :param target: the folder in which they are made.
        :param seconds: seconds within which all must be here.
        :raises RemoteError: when one of them does not come within that time.
        """
        files = {name: target / name for name in names}
        for each in {file.parent for file in files.values()}:
            each.mkdir(parents=True, exist_ok=True)

        def get(folder: Any) -> None:
            # In one call: the clients of object stores copy many files at once.
            folder.fs.get([(folder / name).path for name in files], list(map(str, files.values())))

        self.ask(get, seconds)

    def remove(self, name: str, *, seconds: float) -> None:
        """Remove a file. A missing file is no error.

        :param name: the name of the file.
        :param seconds: seconds within which it must be done.
        :raises RemoteError: when it could not be done within that time.
        """

        def unlink(folder: Any) -> None:
            with suppress(FileNotFoundError):
                (folder / name).unlink()
            folder.fs.invalidate_cache()

        self.ask(unlink, seconds)

    def remove_older(self, age: float, *, seconds: float) -> int:
        """Remove the files that are older than ``age``, and return how many were removed.

        A file stays if its storage does not say when it was written.

        :param age: in seconds.
        :param seconds: seconds within which it must be done.
        :raises RemoteError: when it could not be done within that time.
        """
        oldest = time.time() - age

        def unlink(folder: Any) -> int:
            folder.fs.invalidate_cache()
            removed = 0
            for each in list(folder.iterdir()) if folder.is_dir() else []:
                with suppress(FileNotFoundError):  # another machine may clean too
                    info = folder.fs.info(each.path)
                    if info.get("type") == "file" and _written(info, unknown=oldest) < oldest:
                        each.unlink()
                        removed += 1
            folder.fs.invalidate_cache()
            return removed

        return self.ask(unlink, seconds)

    def ask(self, question: Callable[[Any], T], seconds: float, on_wait: Callable[[], None] | None = None) -> T:
        """Return what a function returns that reads or changes the folder.

        :param question: the function; it gets the folder as ObjectStoragePath, and runs in a thread of its own.
        :param seconds: seconds within which it must have returned.
        :param on_wait: called several times a second meanwhile; what it raises ends the waiting.
        :raises RemoteError: when it has not returned by then, and in place of each error of the storage.
        """
        return _asked(question, self.url, self.conn_id, seconds, on_wait)


def _put(folder: Any, name: str, write: Callable[[Any], object]) -> None:
    """Write a file of a folder, atomically for its readers."""
    from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped] # it has no types

    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(folder.fs, LocalFileSystem):
        # An object store shows only complete files; a folder that hosts share would show half a file.
        aside = place.parent / f"{place.name}.{uuid4().hex}"  # a kill may leave it
        try:
            write(aside)
            folder.fs.mv(aside.path, place.path)
        except BaseException:
            with suppress(OSError):
                aside.unlink()
            raise
    else:
        write(place)
    folder.fs.invalidate_cache()


def signed(content: bytes, *, name: str, key: bytes) -> bytes:
    """Return a file with its signature: the signature (HMAC with SHA-256 over name, time and content), time, content.

    :param content: of the file.
    :param name: under which it is kept. Under another name the signature is wrong.
    :param key: that all machines share.
    """
    dated = b"%0*d" % (_TIME, time.time_ns() // 1000) + content
    return _signature(name, dated, key) + dated


def verified(file: bytes, *, name: str, key: bytes) -> tuple[bytes, float]:
    """Return the content of a file of ``signed``, and when it was signed, in seconds since the epoch.

    :param file: as it was found.
    :param name: under which it was found.
    :param key: that all machines share.
    :raises NotSigned: when the signature is wrong.
    """
    signature, dated = file[:_SIGNATURE], file[_SIGNATURE:]
    if not hmac.compare_digest(signature, _signature(name, dated, key)):
        raise NotSigned("it is not signed with the key of this deployment")
    return dated[_TIME:], int(dated[:_TIME]) / 1e6


def _signature(name: str, dated: bytes, key: bytes) -> bytes:
    return hmac.new(key, name.encode() + b"\n" + dated, hashlib.sha256).digest()


@dataclass(kw_only=True)
class SignedFolder:
    """A folder of an object store. A failure is one warning in the log; ``read`` returns None for a while then.

    :param folder: where the files are kept, with a key.
    :param seconds: seconds within which each answer must come.
    :param limit: the largest content.
    """

    folder: RemoteFolder
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
