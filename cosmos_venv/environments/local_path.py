"""Is a requirement a path? It is when pip takes it as one, in a list and in a file alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_ARCHIVES = tuple(
    f".{ending}"
    for ending in "whl zip tar tar.gz tgz tar.bz2 tbz tar.xz txz tar.lz tlz tar.lzma".split()  # noqa: SIM905 - one line
)
_PATH_AND_REST = re.compile(r"(?P<path>[^;]+?)\s*(?P<rest>(\[[^\[\]]*\])?\s*(;.*)?)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class LocalPath:
    """A requirement that is a path.

    :param rest: extras and markers behind it.
    """

    path: str
    rest: str


def local_path(text: str) -> LocalPath | None:
    """The path that a requirement is; None when it is a name or a URL.

    A path has a separator, begins with a dot or ends like an archive, and need not be there. Only ``a@b`` is looked
    up: it may be a file of that name, else it is the package ``a`` from the address ``b``.
    """
    parts = _PATH_AND_REST.fullmatch(text.strip())
    if parts is None or is_url(text):
        return None
    path = parts["path"]
    if not (_has_a_separator(path) or path.lower().endswith(_ARCHIVES)):
        return None
    name, at, _ = path.partition("@")
    if at and not _has_a_separator(name) and not Path(path).exists():
        return None
    return LocalPath(path=path, rest=parts["rest"].strip())


def is_url(text: str) -> bool:
    """Whether a requirement is a URL, without a name in front of it."""
    first = text.strip().partition(" ")[0].lower()
    return first.startswith("file:") or re.match(r"[a-z+]+://", first) is not None


def _has_a_separator(text: str) -> bool:
    return "/" in text or text.startswith(".")
