"""Does this run need Airflow's throw-away home, and who imported Airflow? Asked when something imports it."""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

NEED_HOME = (
    *("cosmos_airflow_home", "cosmos_run_dag", "cosmos_run_task", "cosmos_variables"),
    *("cosmos_seed_scenario", "cosmos_task_race"),
)
"""The public fixtures for which Airflow needs the throw-away home."""
_NEEDS_HOME = re.compile(rf"\b({'|'.join(NEED_HOME)})\b".encode())


def is_wanted(config: pytest.Config, option: str) -> bool:
    """Whether the ini file asks for the home, or, where it says nothing, a test file names a fixture that needs it."""
    said: bool | None = config.getini(option)
    return said if said is not None else any(map(_names_a_fixture, _test_files(config)))


def _names_a_fixture(file: Path) -> bool:
    try:
        return _NEEDS_HOME.search(file.read_bytes()) is not None
    except OSError:
        return False


def _test_files(config: pytest.Config) -> Iterator[Path]:
    """Every file that this run may collect, and each conftest.py on the way: no other file of a project is read."""
    wanted: list[str] = [*config.getini("python_files"), "conftest.py"]
    known = config.known_args_namespace.file_or_dir or config.getini("testpaths") or ["."]
    skipped: list[str] = config.getini("norecursedirs")
    for argument in known:
        path = (config.invocation_params.dir / str(argument).partition("::")[0]).resolve()
        yield from (folder / "conftest.py" for folder in path.parents if folder.is_relative_to(config.rootpath))
        if path.is_file():
            yield path
        for folder, names, files in os.walk(path):
            names[:] = [name for name in names if not any(fnmatch(name, pattern) for pattern in skipped)]
            if "pyvenv.cfg" in files:
                names.clear()
            yield from (Path(folder, file) for file in files if _fits(folder, file, wanted))


def _fits(folder: str, file: str, patterns: Sequence[str]) -> bool:
    """As pytest reads its ``python_files``: a pattern without a slash is one of names, others are of whole paths."""
    return file.endswith(".py") and any(
        fnmatch(f"{folder}/{file}", f"*/{pattern}") if "/" in pattern else fnmatch(file, pattern)
        for pattern in patterns
    )


def importing_file(frame: FrameType | None) -> str | None:
    """The project's own file on the way to the import, else the nearest one."""
    libraries = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    files = [file for file in _files(frame) if not file.startswith("<")]
    return next((file for file in files if not file.startswith(libraries)), next(iter(files), None))


def _files(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back
