"""What do the look-alikes of a test report while it races? Calls of dbt, and builds of sdists."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_cosmos_venv.environments.dbt_record import DbtCall, read_dbt_calls
from pytest_cosmos_venv.environments.fake_venv import FakeVenv
from pytest_cosmos_venv.environments.sdist import Sdist, SourceBuild
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from pytest_cosmos_venv.lookalike import RECORD_VARIABLE


@dataclass(frozen=True, kw_only=True)
class Lookalikes:
    """The look-alikes that a test uses.

    :param wheelhouse: of the test, or None.
    :param fake_venvs: of the test.
    """

    wheelhouse: Wheelhouse | None = None
    fake_venvs: Sequence[FakeVenv] = ()

    @property
    def records(self) -> tuple[Path, ...]:
        """Folders in which calls of dbt are on record."""
        named = os.environ.get(RECORD_VARIABLE)
        folders = [*([Path(named)] if named else []), *(venv.folder for venv in self.fake_venvs)]
        return tuple(dict.fromkeys(folders))

    def calls(self) -> list[DbtCall]:
        """All on record."""
        return [call for folder in self.records for call in read_dbt_calls(folder)]

    def builds(self) -> list[SourceBuild]:
        """All on record."""
        folders = [] if self.wheelhouse is None else self.wheelhouse._builds.glob("*")
        return [build for folder in folders for build in Sdist(path=folder, _builds=folder).builds]
