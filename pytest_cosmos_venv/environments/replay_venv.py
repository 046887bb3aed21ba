"""A fake environment whose dbt replays a recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_cosmos_venv.environments.fake_venv import FakeVenv
from pytest_cosmos_venv.environments.scripted_dbt import DbtCall
from pytest_cosmos_venv.recordings.replay import Replay


@dataclass
class ReplayVenv(Replay):
    """A fake environment with the dbt of a recording, which it replays.

    :param venv: the environment; its ``script(...)`` counts before the recording.
    """

    venv: FakeVenv

    @property
    def dbt(self) -> Path:
        """The executable, for ``ExecutionConfig(dbt_executable_path=...)``."""
        return self.venv.dbt

    @property
    def calls(self) -> list[DbtCall]:
        """The calls so far, the earliest first."""
        return self.venv.calls
