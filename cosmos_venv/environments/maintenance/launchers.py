"""Commands in ``<virtualenv_dir>/bin`` that run those of the environment made ready last.

A launcher is written where nothing or another launcher of ours stands; a file of a user is never replaced.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from cosmos_venv.files.durable_files import in_one_step, read_own, write_new

_OURS = "# Made by cosmos-venv:"
_FOR_ALL_TO_RUN = 0o755
_GONE = (
    "{name}: the environment {link} is gone. "
    "Run a task that needs it, or cosmos-venv env warm DAGFILE: the next build here makes this command anew."
)
# The build is resolved once: through the link a running process would import the rest of its modules from the
# generation that is published next. (readlink -f is not everywhere; cd -P is POSIX.)
# Real files in a real bin: with links into the published build, python -m venv in this directory failed, and uv wrote
# into the build.
_LAUNCHER = """#!/bin/sh
{ours} runs {name} of the environment that was made ready last.
build=$(CDPATH= cd -P -- {link} 2>/dev/null && pwd -P) || {{ printf '%s\\n' {gone} >&2; exit 1; }}
exec "$build"/bin/{name} "$@"
"""


def write_launchers(directory: Path, link: Path, names: Iterable[str]) -> None:
    """Write one small script per name, where nothing or a launcher of ours stands.

    :param directory: the ``bin`` to write them into.
    :param link: what leads to the published build.
    :param names: of the commands.
    :raises OSError: when the directory cannot be written.
    """
    for name in names:
        launcher = directory / name
        # A user, or another implementation, may keep a virtual environment of its own in this directory, with a bin of
        # its own.
        if not os.path.lexists(launcher) or _is_ours(launcher):
            _write_atomically(launcher, _content(name, link))


def mend_launchers(directory: Path, ready: Mapping[Path, Path]) -> None:
    """Let each launcher of ours whose environment is gone run another one that has its command; else it goes.

    :param directory: the ``bin``, which may be missing.
    :param ready: link -> build of each environment that is left, the one to be preferred first.
    :raises OSError: when the directory cannot be read or written.
    """
    if not directory.is_dir():
        return
    for launcher in [each for each in directory.iterdir() if not each.name.startswith(".") and _is_ours(each)]:
        name = launcher.name
        if read_own(launcher) in (_content(name, link) for link in ready):
            continue
        other = next((link for link, build in ready.items() if (build / "bin" / name).exists()), None)
        if other is None:
            launcher.unlink()
        else:
            _write_atomically(launcher, _content(name, other))


def _content(name: str, link: Path) -> bytes:
    gone = _GONE.format(name=name, link=link)
    text = _LAUNCHER.format(ours=_OURS, name=shlex.quote(name), link=shlex.quote(str(link)), gone=shlex.quote(gone))
    # As the path was given: its bytes, whatever they mean in this locale or in none.
    return os.fsencode(text)


def _is_ours(launcher: Path) -> bool:
    try:
        return _OURS.encode() in read_own(launcher, 200)
    except OSError:
        return False  # a directory, a link, a FIFO: not ours to replace


def _write_atomically(path: Path, content: bytes) -> None:
    with in_one_step(path) as apart:  # a shell may be starting the old one
        write_new(apart, content, _FOR_ALL_TO_RUN)
