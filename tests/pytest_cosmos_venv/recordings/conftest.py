"""A fake environment whose dbt answers from a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from pytest_cosmos_venv import FakeVenv
from pytest_cosmos_venv.recordings.recording import Recording, read_recording


class MakeReplay(Protocol):
    """Make an environment that replays a recording."""

    def __call__(self, recording: Recording | Path | str) -> FakeVenv:
        """Make one.

        :param recording: the recording, or its folder.
        """


@pytest.fixture
def make_replay(cosmos_fake_venv: FakeVenv) -> MakeReplay:
    """A maker of environments of the recorded release of dbt."""

    def make(recording: Recording | Path | str) -> FakeVenv:
        read = recording if isinstance(recording, Recording) else read_recording(recording)
        venv = cosmos_fake_venv(dbt_version=read.dbt_version)
        venv.replay(read)
        return venv

    return make
