"""An environment that tasks find is on the disk: a power cut leaves none with empty files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cosmos_venv.environments import post_install
from cosmos_venv.environments.post_install import flushed_to_disk
from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.processes.cancellation import Cancellation
from tests.environments.unwritten import is_unwritten, require_delayed_allocation
from tests.kit import MakeReady, MakeSpec


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_what_is_published_is_on_the_disk(
    tmp_path: Path,
    make_spec: MakeSpec,
    make_ready: MakeReady,
    preference: str,
) -> None:
    require_delayed_allocation(tmp_path)

    environment = make_ready(tmp_path, make_spec(), preference=preference)

    files = [path for path in environment.path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.suffix == ".pyc" for path in files)
    assert [path for path in files if is_unwritten(path)] == []


def never_ending(tmp_path: Path) -> str:
    """A stand-in for the command that writes out: it waits for ever, as for a disk that does not answer."""
    os.mkfifo(tmp_path / "disk")
    return f"open({str(tmp_path / 'disk')!r})"


def test_a_disk_that_takes_too_long_is_reported_and_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post_install, "_WRITE_OUT", never_ending(tmp_path))
    monkeypatch.setattr(post_install, "_LONGEST_WAIT", 0.0)
    lines: list[str] = []

    with flushed_to_disk(tmp_path, cancellation=Cancellation(), report=lines.append):
        pass

    assert lines == [f"The disk of {tmp_path} is busy: what was installed is not yet safe from a power cut."]


def test_who_is_told_to_end_waits_for_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_install, "_WRITE_OUT", never_ending(tmp_path))
    cancellation = Cancellation()

    with pytest.raises(CommandKilled), flushed_to_disk(tmp_path, cancellation=cancellation, report=print):
        cancellation.request()
