"""Commands in ``<virtualenv_dir>/bin`` that run those of the environment made ready last."""

from __future__ import annotations

import os
import shlex
import uuid
from collections.abc import Iterable
from pathlib import Path

_OURS = "# Made by cosmos-venv:"
# The build is resolved once: through the link a running process would import the rest of its modules from the
# generation that is published next. (readlink -f is not everywhere; cd -P is POSIX.)
_LAUNCHER = """#!/bin/sh
{ours} runs {name} of the environment that was made ready last.
build=$(CDPATH= cd -P -- {link} && pwd -P) || exit 1
exec "$build"/bin/{name} "$@"
"""


def write_launchers(directory: Path, link: Path, names: Iterable[str]) -> None:
    """One small script per name, where nothing or a launcher of ours stands.

    :param directory: the ``bin`` to write them into.
    :param link: what leads to the published build.
    :raises OSError: when the directory cannot be written.
    """
    for name in names:
        launcher = directory / name
        if not os.path.lexists(launcher) or _is_ours(launcher):
            text = _LAUNCHER.format(ours=_OURS, name=shlex.quote(name), link=shlex.quote(str(link)))
            _write_atomically(launcher, text)


def _is_ours(launcher: Path) -> bool:
    try:
        with launcher.open("rb") as file:
            return _OURS.encode() in file.read(200)
    except OSError:
        return False  # a directory, or a link that leads nowhere: not ours to replace


def _write_atomically(path: Path, text: str) -> None:
    apart = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        # As the path was given: its bytes, whatever they mean in this locale or in none.
        apart.write_bytes(os.fsencode(text))
        apart.chmod(apart.stat().st_mode | 0o111)
        apart.replace(path)
    except BaseException:
        apart.unlink(missing_ok=True)
        raise
