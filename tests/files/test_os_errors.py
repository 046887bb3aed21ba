"""A user reads the place and the way out where something has run out, and nothing for any other error."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cosmos_venv.files import os_errors


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


def error(number: int, *names: object) -> OSError:
    return OSError(number, os.strerror(number), *map(str, names))


@pytest.mark.parametrize(
    ("number", "names", "expected"),
    [
        pytest.param(errno.EMFILE, ["{elsewhere}"], "ulimit -n", id="too many files, whatever was opened"),
        pytest.param(errno.ENFILE, [], "fs.file-max", id="too many files of all processes"),
        pytest.param(errno.EDQUOT, ["{temporary}/a"], "{temporary}, is full", id="more than the quota"),
        pytest.param(errno.EROFS, ["{temporary}/a"], "{temporary}, is read-only", id="read-only"),
        pytest.param(errno.ENOSPC, ["{elsewhere}"], None, id="full elsewhere"),
        pytest.param(errno.EACCES, ["{temporary}/a"], None, id="another error"),
    ],
)
def test_a_shortage_is_told_with_its_place(
    temporary: Path, tmp_path: Path, number: int, names: list[str], expected: str | None
) -> None:
    places = {"temporary": temporary, "elsewhere": tmp_path / "elsewhere"}

    said = os_errors.shortage(error(number, *(name.format(**places) for name in names)))

    if expected is None:
        assert said is None
    else:
        assert said is not None
        assert expected.format(**places) in said


def test_a_folder_for_temporary_files_that_is_gone_is_named(temporary: Path) -> None:
    """It was there when Python looked for one, and a cleaner has removed it; virtualenv_dir was blamed."""
    temporary.rmdir()

    assert os_errors.shortage(error(errno.ENOENT, temporary / "a")) == (
        f"The folder for temporary files, {temporary}, is gone. Make it anew, or set TMPDIR to another one."
    )


def test_where_no_folder_for_temporary_files_can_be_written_to_all_are_named(temporary: Path) -> None:
    none = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/var/tmp']")

    said = os_errors.shortage(none)

    assert said is not None
    assert said.startswith(f"{none.strerror}: each is full, read-only, or closed to user id {os.geteuid()}.")
