"""The wheelhouse: a folder of real packages, written on the spot, from which dbt is installed without network."""

from __future__ import annotations

import ensurepip
import hashlib
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from pytest_cosmos_venv.environments import installer_variables
from pytest_cosmos_venv.environments.scripted_dbt import ScriptedDbt
from pytest_cosmos_venv.environments.sdist import HOLD_TIMEOUT, Sdist, write_sdist
from pytest_cosmos_venv.environments.wheel import (
    ADAPTERS,
    DBT_VERSION,
    Wheel,
    adapter_wheel,
    dbt_wheel,
    fake_dbt_wheel,
    wheel_bytes,
)
from pytest_cosmos_venv.errors import AlreadyTaken, ToolkitMisuse, require_seconds
from pytest_cosmos_venv.fake_dbt.whole_writes import write_whole

NEWEST = "99.0"
"""The version of broken packages: a requirement without a version takes it; ``dbt-core==1.10.0`` takes the good one."""

_UV_CONFIG = "uv.toml"
_NAME = re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?", re.ASCII)
_BUILDS = "builds"
RECORD = "dbt"


@dataclass(frozen=True, kw_only=True)
class Wheelhouse(ScriptedDbt):
    """Folders that pip and uv install from, offline; and the script and record of every ``dbt`` installed from there.

    :param path: the folder with dbt and the adapters; equal for all tests that share it.
    :param additions: the folder for packages that are added; it may be the same.
    """

    path: Path
    additions: Path

    @property
    def pip_install_options(self) -> list[str]:
        """pip's options for these packages: for an operator's ``pip_install_options`` or ``pip install``.

        Read them after the last ``add_…``: the folder of additions is named only when it holds packages.
        """
        named = [folder for folder in self.folders if folder == self.path or _distributions(folder)]
        return ["--no-index", *(word for folder in named for word in ("--find-links", str(folder)))]

    @property
    def environment(self) -> dict[str, str]:
        """The variables for the process that installs, so that it finds these packages and no others.

        They are for installers that get no pip options: ``uv venv --seed``, which Airflow's helper runs, asks an index
        for pip (before Python 3.12 for setuptools and wheel too) whatever the pip options say. The machine's own
        configuration of other sources does not count. One variable leads the installed ``dbt`` to its script and
        record.
        """
        return {**self.variables, **installer_variables.from_folders(self.folders, uv_config=self.path / _UV_CONFIG)}

    @property
    def folders(self) -> list[Path]:
        """The folders in which the packages lie."""
        return list(dict.fromkeys((self.path, self.additions)))

    def add_dbt(self, version: str = DBT_VERSION) -> Path:
        """Add a fake of ``dbt-core``, and return the path of its wheel.

        :param version: the version, such as ``1.9.0``; from 2 on, such as ``2.0.0a4``, the wheel holds a program
            ``dbt`` and no Python package, as dbt 2 does.
        """
        return self.add(dbt_wheel(_normal_version("dbt-core", version)))

    def add_adapter(self, name: str, version: str = DBT_VERSION, *, dbt: str = "dbt-core") -> Path:
        """Add a fake of the adapter ``dbt-<name>``, and return the path of its wheel.

        :param name: the name without ``dbt-``.
        :param version: the version of the adapter.
        :param dbt: the requirement that ties it to dbt, such as ``dbt-core>=1.9``.
        :raises ToolkitMisuse: as for ``add``; or the name begins with ``dbt-``.
        """
        _check_requirements([dbt], "dbt")
        if re.match(r"dbt[-_.]", name, re.IGNORECASE):
            raise ToolkitMisuse(f"add_adapter({name!r}): give the name without 'dbt-': {name[4:]!r}.")
        return self.add(adapter_wheel(name, version, dbt))

    def add(self, wheel: Wheel) -> Path:
        """Add any wheel, and return its path. A wheel with the same bytes is not added twice.

        :param wheel: the wheel.
        :raises ToolkitMisuse: another distribution of this name and version is there; or it is no wheel.
        """
        wheel = replace(wheel, version=_normal_version(wheel.name, wheel.version))
        content = wheel_bytes(wheel)
        self._refuse_taken(wheel, unless=content)
        for folder in self.folders:
            path = folder / wheel.filename
            if path.is_file():
                return path
        path = self.additions / wheel.filename
        write_whole(path, content)  # contenders share this wheelhouse
        return path

    def add_sdist(
        self,
        name: str = "dbt-core",
        version: str = NEWEST,
        *,
        requires: Iterable[str] | None = None,
        fails_with: str | None = None,
        hold: bool = False,
        timeout: float = HOLD_TIMEOUT,
    ) -> Sdist:
        """Add a fake that its installer has to build, and return the record of its builds.

        :param name: ``dbt-core``, an adapter such as ``dbt-duckdb``, or any other.
        :param version: the version. Default: the newest, so that a requirement without a version takes it.
        :param requires: requirement strings in place of those of the real distribution.
        :param fails_with: the words of a build that fails; None lets it succeed.
        :param hold: whether each build waits for ``release()`` of the returned sdist: an installation that hangs.
        :param timeout: seconds after which a held build fails by itself.
        :raises ToolkitMisuse: as for ``add``; or the time-out is no length of time.
        """
        require_seconds(timeout, "timeout", is_positive=True)
        if requires is not None:
            _check_requirements(requires, "requires")
        wheel = fake_dbt_wheel(name, _normal_version(name, version), None if requires is None else tuple(requires))
        self._refuse_taken(wheel)
        return write_sdist(
            wheel,
            self.additions,
            builds=self._builds / wheel.stem,
            fails_with=fails_with,
            hold=hold,
            timeout=timeout,
        )

    def close(self) -> None:
        """End the builds and the calls of ``dbt`` that still run."""
        # An error while one of them is ended must not keep the others running.
        with ExitStack() as stack:
            stack.callback(super().close)
            for builds in self._builds.glob("*"):
                stack.callback(Sdist(path=self.additions / f"{builds.name}.tar.gz", _builds=builds).close)

    @property
    def _builds(self) -> Path:
        return self.folder.with_name(_BUILDS)

    def _refuse_taken(self, wheel: Wheel, *, unless: bytes | None = None) -> None:
        if not _NAME.fullmatch(wheel.name):
            raise ToolkitMisuse(f"{wheel.name!r} is no name that an installer understands: write it as dbt-duckdb.")
        name = wheel.stem.partition("-")[0]
        for taken in (file for folder in self.folders for file in _distributions(folder)):
            its_name, its_version, *_ = taken.name.removesuffix(".tar.gz").split("-")
            # For installers 1.0 and 1.0.0 are equal, and an sdist of the version counts too.
            if its_name == name and Version(its_version) == Version(wheel.version):
                # Contenders that share the wheelhouse may add the same wheel twice.
                if taken.name == wheel.filename and taken.read_bytes() == unless:
                    continue
                raise AlreadyTaken(
                    f"{wheel.name} {wheel.version} is in the wheelhouse already, as {taken.name}, and installers "
                    "take either of two that are equal: give this one another version."
                )


def build_wheelhouse(folder: Path, *, adapters: Iterable[str] = ADAPTERS) -> Wheelhouse:
    """Fill a folder with fakes of dbt and of adapters, and with the packages that every new environment gets.

    :param folder: the folder; made when missing.
    :param adapters: their names without ``dbt-``. Default: every one for which profiles can be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wheelhouse = Wheelhouse(folder / RECORD, path=folder, additions=folder)
    wheelhouse.add_dbt()
    for name in adapters:
        wheelhouse.add_adapter(name)
    _add_seed_packages(wheelhouse)
    # uv has no environment variable for --no-index.
    (folder / _UV_CONFIG).write_text("no-index = true\n", encoding="utf-8")
    return wheelhouse


def wheelhouse_key() -> str:
    """Return a digest of what ``build_wheelhouse`` would put into a folder, fit for a file name."""
    wheels = [dbt_wheel(DBT_VERSION), *(adapter_wheel(name, DBT_VERSION, "dbt-core") for name in ADAPTERS)]
    # Seed packages count by file name, which has the version: pip's wheel has two megabytes.
    seeds = [wheel.name for wheel in _bundled_wheels()]
    digest = hashlib.sha256(b"".join(map(wheel_bytes, wheels)) + repr(seeds).encode())
    return f"{sys.implementation.cache_tag}-{digest.hexdigest()[:16]}"


def _normal_version(name: str, version: str) -> str:
    try:
        # Normalised as in file names: installers ignore a file of 2.0.0-b1, and take 2.0.0b1.
        return str(Version(version))
    except (InvalidVersion, TypeError):
        raise ToolkitMisuse(
            f"version={version!r} of {name} is none that an installer understands: write it as 1.9.0."
        ) from None


def _check_requirements(requires: object, parameter: str) -> None:
    # A text is an iterable of letters.
    if isinstance(requires, str) or not isinstance(requires, Iterable):
        raise ToolkitMisuse(f"{parameter}={requires!r}: give a list, such as ['dbt-core>=1.9'].")
    for each in requires:
        try:
            Requirement(each)
        except (InvalidRequirement, TypeError):
            raise ToolkitMisuse(f"{parameter}: {each!r} is no requirement: write it as 'dbt-core>=1.9'.") from None


def _distributions(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.name.endswith((".whl", ".tar.gz"))]


def _add_seed_packages(wheelhouse: Wheelhouse) -> None:
    # Before Python 3.12 a new environment gets these beside pip, and uv asks an index for them: empty fakes will do.
    for name in ("setuptools", "wheel"):
        wheelhouse.add(Wheel(name=name, version="0", files={f"{name}/__init__.py": ""}))
    # pip itself has to work, so it is the one that Python brings along.
    for wheel in _bundled_wheels():
        shutil.copy(wheel, wheelhouse.path)


def _bundled_wheels() -> list[Path]:
    # Linux distributions may ship them apart from Python; Debian does it without naming the place to sysconfig.
    folders = [Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels")]
    named = sysconfig.get_config_var("WHEEL_PKG_DIR")
    if named:
        folders.insert(1, Path(named))
    return next(filter(None, (sorted(folder.glob("*.whl")) for folder in folders)), [])
