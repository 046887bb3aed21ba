"""What lies in a folder elsewhere? Files that are kept for others: read, written, and the oldest removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from cosmos_venv.limits import Limit
from cosmos_venv.remote.copies import RemoteError, within
from cosmos_venv.remote.store import changed_at, content_of, error_of, place_of
from cosmos_venv.remote.url import shown

T = TypeVar("T")

SUFFIX = ".jsonl"


@dataclass(frozen=True, kw_only=True)
class RemoteFolder:
    """:param url: of an object store that Airflow knows, or a path.
    :param conn_id: id of an Airflow connection; None: the default one of the storage, where there is any.
    :param most: how many files are kept, the newest.
    """

    url: str
    conn_id: str | None = None
    most: int = 200

    def __str__(self) -> str:
        return shown(self.url)

    def read(self, name: str, *, seconds: float, limit: Limit) -> bytes | None:
        """The file's content; None when there is none.

        :raises RemoteError: when nothing can be said within that time, or it is longer than the limit.
        """

        def content(folder: Any) -> bytes | None:
            folder.fs.invalidate_cache()
            try:
                return content_of(folder / name, limit)
            except FileNotFoundError:
                return None

        return self._asked(content, seconds)

    def write(self, name: str, content: bytes, *, seconds: float) -> None:
        """Keep it. Who reads must be able to tell a part of it from the whole.

        :raises RemoteError: when it could not be done within that time.
        """

        def keep(folder: Any) -> None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            folder.fs.invalidate_cache()
            self._sweep(folder)

        self._asked(keep, seconds)

    def _sweep(self, folder: Any) -> None:
        dated = [(changed_at(info), info["name"]) for info in folder.fs.ls(folder.path, detail=True)]
        times: Any = [(changed, name) for changed, name in dated if changed is not None and _is_kept(name)]
        for _, name in sorted(times, reverse=True)[self.most :]:
            folder.fs.rm_file(name)

    def _asked(self, question: Callable[[Any], T], seconds: float) -> T:
        folder = place_of(self.url, self.conn_id)
        try:
            return within(seconds, lambda: question(folder))
        except RemoteError:
            raise
        except Exception as error:
            raise error_of(error) from error


def _is_kept(name: str) -> bool:
    """Whatever else lies there is not ours."""
    return name.endswith(SUFFIX)
