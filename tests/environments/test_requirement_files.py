"""Every file that a requirements file names counts by what it holds, however its line is written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from cosmos_venv.environments.requirement_files import (
    canonical_requirements_file,
    digest_of_path,
    options_in_file,
    parse,
)
from cosmos_venv.exceptions import CosmosValueError
from tests.odd_files import plant


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "module.py").write_text("ONE = 1\n")
    (tmp_path / "base.txt").write_text("hello==1.0\n")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("-rbase.txt", "base.txt"),
        ("-r base.txt  # shared", "base.txt"),
        ("-c \\\n  base.txt", "base.txt"),
        ("-e ./pkg", "pkg/module.py"),
        ("--editable ./pkg", "pkg/module.py"),
    ],
)
def test_what_a_line_names_counts_by_content(line: str, named: str, folder: Path) -> None:
    outer = folder / "outer.txt"
    outer.write_text(line.format(folder=folder) + "\n")
    before = canonical_requirements_file(outer)

    (folder / named).write_text("two==2.0\n" if named.endswith(".txt") else "TWO = 2\n")

    assert canonical_requirements_file(outer) != before


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("hello==1.0", "hello==1.0   # a remark"),
        ("hello==1.0", "# before\n\nhello==1.0"),
        ("--index-url https://user:one@host/simple", "--index-url=https://user:two@host/simple"),
        ("hello @ https://host/hello.whl#sha256=0", "hello @ https://host/hello.whl#sha256=0 # pinned"),
    ],
)
def test_what_means_the_same_is_the_same(line: str, same: str, folder: Path) -> None:
    (folder / "one.txt").write_text(f"{line}\n")
    (folder / "other.txt").write_text(f"{same}\n")

    assert canonical_requirements_file(folder / "one.txt") == canonical_requirements_file(folder / "other.txt")


def test_lines_that_windows_has_ended_are_lines(folder: Path) -> None:
    (folder / "unix.txt").write_bytes(b"hello \\\n ==1.0\n-r base.txt\n")
    (folder / "windows.txt").write_bytes(b"hello \\\r\n ==1.0\r\n-r base.txt\r\n")

    assert canonical_requirements_file(folder / "windows.txt") == canonical_requirements_file(folder / "unix.txt")
    assert [option.value for option in options_in_file(folder / "windows.txt")] == ["base.txt"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("fifo", "it is a named pipe, and no file that has an end"),
        ("device", "it is a device, and no file that has an end"),
        ("directory", "Is a directory"),
    ],
)
def test_a_requirements_file_that_has_no_end_is_refused(folder: Path, kind: str, words: str) -> None:
    odd = folder / "odd.txt"
    if kind == "device":
        odd.symlink_to("/dev/zero")
    else:
        plant(odd, kind)
    (folder / "outer.txt").write_text("-r odd.txt\n")

    for named in (odd, folder / "outer.txt"):
        with pytest.raises(CosmosValueError, match=f"cannot be read: {re.escape(words)}"):
            canonical_requirements_file(named)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_what_has_no_end_in_a_package_folder_counts_as_what_it_is(folder: Path, kind: str) -> None:
    """An installer may pass over it."""
    package = folder / "pkg"
    before = digest_of_path(package)
    if kind == "device":
        (package / "odd").symlink_to("/dev/zero")
    else:
        plant(package / "odd", kind)

    with_it = digest_of_path(package)

    assert with_it != before
    assert digest_of_path(Path(shutil.move(package, folder / "moved"))) == with_it


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["-iU"], [("--index-url", "U")], id="attached"),
        pytest.param(["-r requirements.txt"], [("--requirement", "requirements.txt")], id="one-word"),
        pytest.param(["--index-url=U"], [("--index-url", "U")], id="equals"),
        pytest.param(["-U", "hello"], [("--upgrade", ""), ("", "hello")], id="switch-then-name"),
        pytest.param(["--find-links"], [("--find-links", "")], id="value-forgotten"),
        pytest.param(["--new-switch", "-r", "x"], [("--new-switch", ""), ("--requirement", "x")], id="unknown"),
    ],
)
def test_options_are_read_as_people_write_them(words: list[str], expected: list[tuple[str, str]]) -> None:
    assert [(option.name, option.value) for option in parse(words)] == expected
