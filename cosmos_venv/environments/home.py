"""What an installer needs of a home, for users who have none: a uid without passwd entry, a HOME that is read-only.

pip ends with a traceback where nobody knows a home, uv where its cache cannot be written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_NO_HOME = "/"  # as container runtimes say it. Nowhere that others may write: a pip.conf there would be obeyed.


def variables_for_lack_of_a_home(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables to add to those of an installer; none for an ordinary user."""
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path.home raises where there is none
    added = {}
    if not Path(home).is_absolute():
        home = added["HOME"] = _NO_HOME
    if not ({"UV_CACHE_DIR", "UV_NO_CACHE"} & set(environ)) and not _may_be_written(_uv_cache(environ, home)):
        added["UV_NO_CACHE"] = "1"
    return added


def _uv_cache(environ: Mapping[str, str], home: str) -> Path:
    return Path(environ.get("XDG_CACHE_HOME") or f"{home}/.cache") / "uv"


def _may_be_written(path: Path) -> bool:
    """Whether it, or what it would be made in, can take files. Nothing is made: pip may be the one to install."""
    while not os.path.lexists(path):
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)
