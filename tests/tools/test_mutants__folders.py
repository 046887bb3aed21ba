"""Where the run of all mutants keeps its thousands of environments."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools import mutants
from tools.mutants import roomy_folder


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(mutants, "_IN_MEMORY", tmp_path)
    return tmp_path


def mounted(monkeypatch: pytest.MonkeyPatch, *, free: int = 8 << 30, flags: int = 0) -> None:
    system = SimpleNamespace(f_bavail=free >> 12, f_frsize=1 << 12, f_flag=flags)
    monkeypatch.setattr(os, "statvfs", lambda _: system)


def test_it_is_in_memory_where_there_is_room(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(monkeypatch)

    assert roomy_folder() == memory


def test_it_is_not_where_there_is_little_room(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(monkeypatch, free=64 << 20)

    assert roomy_folder() is None


def test_it_is_not_where_nothing_can_be_run(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(monkeypatch, flags=os.ST_NOEXEC)

    assert roomy_folder() is None


def test_it_is_not_where_there_is_no_such_folder(memory: Path) -> None:
    memory.rmdir()

    assert roomy_folder() is None
