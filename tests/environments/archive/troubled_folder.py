"""A folder of a remote store where something happens between two requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from cosmos_venv.remote.object_store import RemoteFolder

Happens = Callable[[str, str], object]


@dataclass
class TroubledFolder:
    """The folder of a store, and what happens before each request to it and after.

    :param folder: where the files stand.
    :param before: called with the request (``read``, ``write``, …) and the ending of the file's name.
    :param after: likewise.
    """

    folder: Path
    before: Happens = lambda _, __: None
    after: Happens = lambda _, __: None
    requests: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        return "the store"

    def __getattr__(self, request: str) -> Callable[..., Any]:
        real = getattr(RemoteFolder(url=f"file://{self.folder}"), request)

        def asked(*arguments: Any, **more: Any) -> Any:
            name = next(each for each in arguments if isinstance(each, str))
            ending = PurePosixPath(name).suffix[1:]
            self.requests.append((request, ending))
            self.before(request, ending)
            answer = real(*arguments, **more)
            self.after(request, ending)
            return answer

        return asked


def once(request: str, ending: str, act: Callable[[], object]) -> Happens:
    """What happens at the first such request alone."""
    left = [act]

    def happens(asked: str, of: str) -> None:
        if (asked, of) == (request, ending) and left:
            left.pop()()

    return happens
