"""Files that are kept between commands, each under a digest, in a folder of this user alone.

They only save time, so nothing here fails: what cannot be read is not there, and what cannot be written is not kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from cosmos_venv.files.kernel_lock import FileToLock, try_lock_if_supported
from cosmos_venv.files.own_files import age, is_private, make_private, open_own, replace_atomically, sweep_abandoned
from cosmos_venv.files.read_limits import ANY_SIZE, refuse_unfit_file, sha256_of_file

SETTLED_SECONDS = 2.0
"""A file may change again within one tick of the file system's clock, and keep its time."""

_HEX_DIGITS = 64
_REFRESHED_SECONDS = 300.0  # a file in use must look newer than an unused one, but a parse should seldom write
_TURN = 0.05
_LOCK_DIGITS = 3  # of the digest: at most 4,096 lock files are made, and nobody sweeps them
_PRIVATE = 0o600


class Elsewhere(Protocol):
    """A place that other machines reach too. A failure there is no error: ``read`` returns None then."""

    def read(self, name: str) -> tuple[bytes, float] | None:
        """Return the content of a file, and when it was written, in seconds since the epoch; None when there is none.

        :param name: of the file.
        """

    def write(self, name: str, content: bytes) -> None:
        """Keep a file for other machines.

        :param name: of the file.
        :param content: its bytes.
        """


class FileCache(msgspec.Struct, frozen=True, kw_only=True):
    """Files in one folder, each kept under a digest.

    :param folder: of the files. It and the folder above it must be this user's alone, or nothing is read.
    :param suffix: of the files' names, such as ``.msgpack``.
    :param most: number of files that are kept: the last written or, where reads are noted, the last read.
    :param seconds: how long a file is kept that nobody uses.
    :param elsewhere: files of other machines, for ``fetch`` and ``share``; None: there are none.
    """

    folder: Path
    suffix: str
    most: int = 50
    seconds: float = 30 * 86_400.0
    elsewhere: Elsewhere | None = None

    def path(self, digest: str) -> Path:
        """Return where the file of a digest stands, or would stand.

        :param digest: hexadecimal digits, the name under which the file is kept.
        """
        return self.folder / f"{digest}{self.suffix}"

    def read(self, digest: str, *, is_noted: bool = True) -> bytes | None:
        """Return the content kept under a digest; None when there is none.

        :param digest: the name under which it was written.
        :param is_noted: whether the time of the file says that it was read; False: its time says when it was written.
        """
        file = self.opened(digest, is_noted=is_noted)
        if file is None:
            return None
        with file, suppress(OSError):
            return file.read()
        return None

    def opened(self, digest: str, *, is_noted: bool = True) -> BinaryIO | None:
        """Return the file of a digest, opened for reading; None when there is none. The caller closes it.

        :param digest: the name under which it was written.
        :param is_noted: as for ``read``.
        """
        try:
            file = os.fdopen(open_own(self.path(digest), os.O_RDONLY), "rb")
        except OSError:
            return None
        if not is_private(self.folder):
            file.close()
            return None
        if is_noted and age(os.fstat(file.fileno()).st_mtime) > _REFRESHED_SECONDS:
            with suppress(OSError):
                os.utime(file.fileno())
        return file

    def mapped(self, digest: str) -> mmap | None:
        """Return the content kept under a digest as a memory map, without reading it; None when there is none.

        :param digest: the name under which it was written.
        """
        file = self.opened(digest)
        if file is None:
            return None
        with file, suppress(OSError, ValueError):  # an empty file cannot be mapped
            return mmap(file.fileno(), 0, access=ACCESS_READ)
        return None

    def write(self, digest: str, content: bytes | Iterable[bytes]) -> None:
        """Keep a content under a digest. This is atomic: other processes may read or write the same file now.

        :param digest: the name under which it is kept.
        :param content: in one piece or in several. An error of the iterator other than an ``OSError`` is passed on, and
            nothing is kept.
        """
        with suppress(OSError):
            make_private(self.folder)
            if is_private(self.folder):
                with replace_atomically(self.path(digest)) as apart:
                    # A parse file holds the values of variables that a project asks for; others may be able to read the
                    # folder.
                    descriptor = os.open(apart, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _PRIVATE)
                    with os.fdopen(descriptor, "wb") as file:
                        file.writelines([content] if isinstance(content, bytes) else content)
                self._sweep()

    def remove_unused(self, seconds: float) -> int:
        """Remove the files that nobody has read or written for some time, and return how many were removed.

        :param seconds: the time.
        """
        removed = 0
        for path in self.folder.glob(f"*{self.suffix}"):
            with suppress(FileNotFoundError):  # the sweep of a parse may be faster
                if age(path.lstat().st_mtime) > seconds:
                    path.unlink()
                    removed += 1
        return removed

    def fetch(self, digest: str) -> None:
        """Copy the file of a digest from other machines, with its time, where this folder has none.

        :param digest: the name under which it is kept.
        """
        if self.elsewhere is None or self.path(digest).exists():
            return
        if found := self.elsewhere.read(self.path(digest).name):
            content, written = found
            self.write(digest, content)
            with suppress(OSError):
                os.utime(self.path(digest), (written, written))

    def share(self, digest: str) -> None:
        """Copy the file of a digest from this folder to other machines.

        :param digest: the name under which it is kept.
        """
        if self.elsewhere is not None and (content := self.read(digest)) is not None:
            self.elsewhere.write(self.path(digest).name, content)

    @contextmanager
    def exclusive(self, digest: str, *, report: Callable[[], object]) -> Iterator[None]:
        """Let no other process make the file of a digest within this block. Digests that begin alike share one lock.

        :param digest: the name under which something is to be kept.
        :param report: called once when another process has the lock.
        """
        file = self._file_of_turns(digest)
        with nullcontext() if file is None else closing(file):
            if file is not None and not file.try_lock():
                report()
                while not file.try_lock():
                    time.sleep(_TURN)
            yield

    def _file_of_turns(self, digest: str) -> FileToLock | None:
        with suppress(OSError):  # no cache: then each process makes its own
            make_private(self.folder)
            if is_private(self.folder):
                return FileToLock(self.folder / f"{digest[:_LOCK_DIGITS]}.lock", lock=try_lock_if_supported)
        return None

    def _sweep(self) -> None:
        """Keep only the newest files: variables such as a date make a new file every day."""
        sweep_abandoned(self.folder)
        kept = sorted((age(path.lstat().st_mtime), path) for path in self.folder.glob(f"*{self.suffix}"))
        for number, (seconds, path) in enumerate(kept):
            if number >= self.most or seconds > self.seconds:
                path.unlink(missing_ok=True)


def digest_of_file(path: Path, *, known: FileCache | None = None) -> str:
    """SHA-256 of a file's content, 64 hex digits.

    :param path: the file.
    :param known: keeps digests: a file that looks untouched is not read again; None: it is read.
    :raises OSError: when it cannot be read.
    """
    refuse_unfit_file(path, ANY_SIZE)
    status = path.stat()
    facts = [str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]
    look = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    is_settled = max(status.st_mtime, status.st_ctime) < time.time() - SETTLED_SECONDS
    if known is not None and is_settled and len(kept := known.read(look) or b"") == _HEX_DIGITS:
        return kept.decode("ascii", errors="replace")
    digest = sha256_of_file(path)
    if known is not None and is_settled:
        known.write(look, digest.encode())
    return digest
