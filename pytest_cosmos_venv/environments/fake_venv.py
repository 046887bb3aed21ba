"""The fake virtual environment, made in milliseconds: links to a Python, and a scripted dbt."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from pytest_cosmos_venv.environments.scripted_dbt import ScriptedDbt
from pytest_cosmos_venv.environments.wheel import DBT_VERSION, Wheel, adapter_wheel, dbt_wheel
from pytest_cosmos_venv.errors import AlreadyTaken, ToolkitMisuse
from pytest_cosmos_venv.fake_dbt import is_native
from pytest_cosmos_venv.fake_dbt.record import FOLDER_OF_ENVIRONMENT
from pytest_cosmos_venv.throwaway import folder_lock

DEFAULT_ADAPTERS = ("duckdb", "postgres")
# Older kernels cut a longer first line of a script; pip keeps to the same.
_LONGEST_SHEBANG = 127
_LAST_FILE = "pyvenv.cfg"
_UP = "../../../"


@dataclass(frozen=True)
class FakeVenv(ScriptedDbt):
    """A working virtual environment with a scripted dbt that records its calls.

    Its ``dbt`` finds script and record beside itself, even without environment variables. The ``dbt`` of a wheelhouse
    in the same test has a script and record of its own.
    """

    _place: Path
    _files: dict[str, str] = field(repr=False)
    _family: list[FakeVenv] = field(repr=False, compare=False)

    @cached_property
    def path(self) -> Path:
        """The directory of the environment. The first use makes it, in any of the processes that share it."""
        self._place.parent.mkdir(parents=True, exist_ok=True)
        # Contenders that share the environment ask for it at the same moment.
        with folder_lock(self._place.parent):
            if not (self._place / _LAST_FILE).exists():
                _build(self._place, self._files)
        self.folder.mkdir(exist_ok=True)
        return self._place

    @property
    def dbt(self) -> Path:
        """The executable, for ``ExecutionConfig(dbt_executable_path=...)``."""
        return self.path / "bin" / "dbt"

    @property
    def python(self) -> Path:
        """The interpreter: the one that runs the tests, with a ``sys.prefix`` of its own."""
        return self.path / "bin" / "python"

    def __call__(
        self,
        *,
        path: Path | str | None = None,
        dbt_version: str = DBT_VERSION,
        adapters: tuple[str, ...] | None = None,
    ) -> FakeVenv:
        """Make another environment, at once, with script and record of its own.

        :param path: its directory; None: one beside the others. It may exist, but hold no environment.
        :param dbt_version: the version that its dbt says of itself.
        :param adapters: the names of its adapters without ``dbt-``; None: duckdb and postgres; for dbt 2, which has its
            adapters inside, none.
        :raises ToolkitMisuse: the directory, version or name is not valid.
        """
        require_dbt_version(dbt_version)
        # Absolute: its scripts name it, wherever they are started.
        beside = self._place.absolute()
        # mkdtemp: contenders that call at the same moment get different names.
        made = tempfile.mkdtemp(prefix=f"{beside.name}-", dir=beside.parent) if path is None else path
        place = Path(made).absolute()
        if (place / _LAST_FILE).exists() or (place / "bin" / "python").exists():
            raise AlreadyTaken(f"path={place}: there is a virtual environment already; give another directory.")
        another = fake_venv(place, self._family, environment_files(dbt_version, adapters))
        try:
            _ = another.path
        except OSError as error:
            raise ToolkitMisuse(
                f"path={place}: no environment can be made there ({error}). Give a directory, which may be missing."
            ) from None
        return another


def fake_venv(place: Path, family: list[FakeVenv], files: dict[str, str] | None = None) -> FakeVenv:
    """Return a fake environment that is made on the first use of its path.

    :param place: its directory.
    :param family: all environments of one test; the new environment is added.
    :param files: as ``environment_files`` gives them; None: those of the defaults.
    """
    files = environment_files() if files is None else files
    made = FakeVenv(place / FOLDER_OF_ENVIRONMENT, place, files, family)
    family.append(made)
    return made


@contextmanager
def fake_venvs() -> Iterator[Callable[[Path, str | None], FakeVenv]]:
    """Within the block, make fake environments. At its end each of them is closed, however it ends.

    :returns: a function of the directory and the version of dbt, None: the usual one.
    :raises ToolkitMisuse: at the end, when a script does not fit the project of a call.
    """
    family: list[FakeVenv] = []
    with ExitStack() as stack:  # closes each, even if closing another one raises because of its script
        try:
            yield lambda place, version: fake_venv(place, family, environment_files(version or DBT_VERSION))
        finally:
            for each in family:
                stack.callback(each.close)


def require_dbt_version(dbt_version: str) -> None:
    """Refuse a value that is no version of dbt.

    :param dbt_version: the argument of this name.
    :raises ToolkitMisuse: it is no version of dbt.
    """
    # 1.10 without quotes is the number 1.1.
    if not re.fullmatch(r"\d+\.\d+\.\d+\w*", str(dbt_version)):
        raise ToolkitMisuse(f"dbt_version={dbt_version!r} is no version of dbt: give one such as {DBT_VERSION}.")


@cache
def environment_files(dbt_version: str = DBT_VERSION, adapters: tuple[str, ...] | None = None) -> dict[str, str]:
    """Return path below ``site-packages`` -> text, for what an installer would have put into an environment.

    :param dbt_version: the version that dbt says of itself.
    :param adapters: as for a call of ``FakeVenv``.
    """
    if adapters is None:
        adapters = () if is_native(dbt_version) else DEFAULT_ADAPTERS
    dbt = dbt_wheel(dbt_version)
    return {
        path: text
        for wheel in (dbt, *(adapter_wheel(name, dbt_version, "dbt-core") for name in adapters))
        for path, text in _installed(wheel)
    }


def _installed(wheel: Wheel) -> list[tuple[str, str]]:
    # The paths, from site-packages, where an installer puts a wheel's scripts and data.
    scripts, data = f"{wheel.stem}.data/scripts/", f"{wheel.stem}.data/data/"
    return [(path.replace(scripts, f"{_UP}bin/").replace(data, _UP), text) for path, text in wheel.contents.items()]


def _build(place: Path, files: dict[str, str]) -> None:
    version = "{}.{}".format(*sys.version_info)
    site_packages = place / "lib" / f"python{version}" / "site-packages"
    (place / "bin").mkdir(parents=True, exist_ok=True)
    # Outer folders first: a missing parent costs two more calls.
    for folder in sorted({"", *(path.rpartition("/")[0] for path in files)}):
        (site_packages / folder).mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        (site_packages / path).write_text(text, encoding="utf-8")
    # The Python beneath the environment that runs the tests: one environment cannot be the home of another.
    base = Path(getattr(sys, "_base_executable", None) or sys.executable)
    (place / "bin" / "python").symlink_to(base)
    for name in ("python3", f"python{version}"):
        (place / "bin" / name).symlink_to("python")
    _write_scripts(place)
    # Written last: this file marks a complete environment.
    lines = [
        f"home = {base.parent}",
        "include-system-site-packages = false",
        "version = {}.{}.{}".format(*sys.version_info),
        f"executable = {base}",
        "",
    ]
    (place / _LAST_FILE).write_text("\n".join(lines), encoding="utf-8")


def _write_scripts(place: Path) -> None:
    python = str(place / "bin" / "python")
    first = f"#!{python}\n"
    if " " in python or len(first) > _LONGEST_SHEBANG:
        # A shell runs the second line as a command, and Python reads it as a string. pip writes the same.
        first = f"#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n"
    dbt = place / "bin" / "dbt"
    if not dbt.exists():  # a native dbt is among the files
        dbt.write_text(f"{first}import sys\nfrom dbt.cli.main import cli\nsys.exit(cli())\n", encoding="utf-8")
    dbt.chmod(0o755)
    activate = f'VIRTUAL_ENV="{place}"\nexport VIRTUAL_ENV\nPATH="$VIRTUAL_ENV/bin:$PATH"\nexport PATH\n'
    (place / "bin" / "activate").write_text(activate, encoding="utf-8")
