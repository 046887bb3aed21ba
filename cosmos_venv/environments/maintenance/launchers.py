"""Commands in ``<virtualenv_dir>/bin`` that run those of the environment made ready last.

A launcher is written where nothing or another launcher of ours stands; a file of a user is never replaced.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from cosmos_venv.environments.environment import BuildRecord
from cosmos_venv.files.durable_files import in_one_step, read_own, write_new

_OURS = "# Made by cosmos-venv:"
_FOR_ALL_TO_RUN = 0o755
_GONE = (
    "{name}: the environment {build} is gone. "
    "Run a task that needs it, or cosmos-venv env warm DAGFILE: the next build here makes this command anew."
)
# Real files in a real bin: with links into the published build, python -m venv in this directory failed, and uv wrote
# into the build.
_LAUNCHER = """#!/bin/sh
{ours} runs {name} of the environment that was made ready last.
[ -e {program} ] || {{ printf '%s\\n' {gone} >&2; exit 1; }}
exec {program} "$@"
"""


def write_launchers(directory: Path, build: Path, names: Iterable[str]) -> None:
    """Write one small script per name, where nothing or a launcher of ours stands.

    :param directory: the ``bin`` to write them into.
    :param build: the folder of the environment.
    :param names: of the commands.
    :raises OSError: when the directory cannot be written.
    """
    for name in names:
        launcher = directory / name
        # A user, or another implementation, may keep a virtual environment of its own in this directory, with a bin of
        # its own.
        if not os.path.lexists(launcher) or _is_ours(launcher):
            with in_one_step(launcher) as apart:  # a shell may be starting the old one
                write_new(apart, _content(name, build), _FOR_ALL_TO_RUN)


def mend_launchers(directory: Path, root: Path, ready: Iterable[BuildRecord]) -> None:
    """Let each launcher of ours whose environment is gone run the newest one that has its command; else it goes.

    :param directory: the ``bin``, which may be missing.
    :param root: the folder of the builds.
    :param ready: the records of the environments that are left.
    :raises OSError: when the directory cannot be read or written.
    """
    newest_first = sorted(ready, key=lambda record: record.built_at, reverse=True)
    for launcher in filter(_is_ours, directory.glob("[!.]*")):
        builds = [root / record.build for record in newest_first if launcher.name in record.commands]
        if read_own(launcher) not in (_content(launcher.name, build) for build in builds):
            launcher.unlink()
            for build in builds[:1]:
                write_launchers(directory, build, [launcher.name])


def _content(name: str, build: Path) -> bytes:
    program, gone = shlex.quote(str(build / "bin" / name)), shlex.quote(_GONE.format(name=name, build=build))
    # As the path was given: its bytes, whatever they mean in this locale or in none.
    return os.fsencode(_LAUNCHER.format(ours=_OURS, name=shlex.quote(name), program=program, gone=gone))


def _is_ours(launcher: Path) -> bool:
    try:
        return _OURS.encode() in read_own(launcher, 200)
    except OSError:
        return False  # a directory, a link, a FIFO: not ours to replace
