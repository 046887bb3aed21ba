"""Temporary folders: gone after their block, and those of a killed process with the next one that is made."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosmos_venv.scratch import temporary_folder

HOLD = """
from cosmos_venv.scratch import temporary_folder
with temporary_folder("-run-") as folder:
    (folder / "work").write_text("half")
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@pytest.fixture
def holder() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has such a folder, and the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def test_it_is_this_users_alone_and_gone_after_its_block(temporary: Path) -> None:
    with temporary_folder("-run-") as folder:
        (folder / "file").write_text("")
        assert folder.relative_to(temporary).parts[0].startswith("cosmos-venv-run-")
        assert folder.parent.stat().st_mode & 0o077 == 0

    assert not list(temporary.iterdir())


def test_what_a_killed_process_left_goes_with_the_next_folder(
    temporary: Path, holder: tuple[subprocess.Popen[str], Path]
) -> None:
    process, left = holder
    with temporary_folder():
        assert (left / "work").exists()
    process.kill()
    process.wait()

    with temporary_folder() as folder:
        assert list(temporary.iterdir()) == [folder.parent]


@pytest.mark.parametrize("content", [None, "another boot"], ids=["no-owner-file", "another-machine"])
def test_what_may_be_another_ones_is_left_alone(temporary: Path, content: str | None) -> None:
    """Cosmos's temporary environments begin with the same name; a shared folder may be another host's."""
    theirs = temporary / "cosmos-venv12345678"
    (theirs / "bin").mkdir(parents=True)
    if content is not None:
        (theirs / ".owner").write_text(content)

    with temporary_folder():
        pass

    assert (theirs / "bin").is_dir()


def test_a_link_is_not_followed(temporary: Path) -> None:
    (temporary / "mine").mkdir()
    (temporary / "mine" / "file").write_text("")
    (temporary / "cosmos-venv-run-x").symlink_to(temporary / "mine")
    os.link(temporary / "mine" / "file", temporary / "mine" / ".owner")

    with temporary_folder():
        pass

    assert (temporary / "mine" / "file").exists()
