"""The value of ``cosmos_dbt``: a wheelhouse, an index that serves it from its first use on, and a recorder."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pytest_cosmos_venv.environments.package_index import PackageIndex
from pytest_cosmos_venv.environments.wheel import ADAPTERS
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.fake_dbt import is_native
from pytest_cosmos_venv.recordings.recorder import write_recording_dbt

FOLDER = "cosmos-dbt"
"""Name of the folder of the fake dbt's script and record, below the test's folder; they may hold secrets."""

_NUMBERS = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class CosmosDbt(Wheelhouse):
    """The dbt that tasks install: real packages of a fake dbt, in folders, and over HTTP where ``index`` is used."""

    _serve: Callable[[], PackageIndex] = field(repr=False, compare=False)

    def __reduce__(self) -> tuple[object, ...]:
        # A contender of a race installs from the folders, or from an index whose address it is handed.
        return _wheelhouse, (self.folder, self.path, self.additions)

    @cached_property
    def index(self) -> PackageIndex:
        """The package index on loopback. From the first use on, pip and uv install from it.

        ``.pip_install_options`` makes any operator install from it; ``.require_login(...)``, ``.fault(...)`` and
        ``.delay(...)`` make requests fail or wait; ``.requests`` are the requests so far.
        """
        return self._serve()

    def releases(self, *releases: str) -> None:
        """Add fakes of releases of dbt-core, and for dbt 1 of all adapters, beside those that are there.

        :param *releases: such as ``"1.11"`` or ``"2.0.0a4"``.
        """
        for release in releases:
            version = f"{release}.0" if release.count(".") == 1 else release
            self.add_dbt(version)
            for adapter in () if is_native(version) else ADAPTERS:
                self.add_adapter(adapter, version)

    def record(self, dbt: Path | str, recording: Path | str) -> Path:
        """Return the path of an executable that runs a real dbt, and adds each call to a recording without secrets.

        :param dbt: the real dbt.
        :param recording: the folder of the recording, which may be missing.
        :raises ToolkitMisuse: there is no such executable.
        """
        found = shutil.which(dbt)
        if found is None:
            raise ToolkitMisuse(f"dbt={str(dbt)!r}: there is no such executable; give the path of a real dbt.")
        place = self.additions.parent / f"recording-dbt-{next(_NUMBERS)}" / "bin" / "dbt"
        return write_recording_dbt(Path(found).absolute(), Path(recording), place)


def _wheelhouse(folder: Path, path: Path, additions: Path) -> Wheelhouse:
    return Wheelhouse(folder, path=path, additions=additions)
