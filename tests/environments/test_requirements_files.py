"""Does every file that a requirements file names count by what it holds, however its line is written?"""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.environments.content import canonical_requirements_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "module.py").write_text("ONE = 1\n")
    (tmp_path / "base.txt").write_text("hello==1.0\n")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("-r base.txt", "base.txt"),
        ("-rbase.txt", "base.txt"),
        ("-r base.txt  # shared", "base.txt"),
        ("--requirement=base.txt", "base.txt"),
        ("-c \\\n  base.txt", "base.txt"),
        ("./pkg", "pkg/module.py"),
        ("./pkg[extra]", "pkg/module.py"),
        ("./pkg  # ours", "pkg/module.py"),
        ("./pkg ; python_version > '3'", "pkg/module.py"),
        ("-e ./pkg", "pkg/module.py"),
        ("-e ./pkg[extra]", "pkg/module.py"),
        ("--editable ./pkg", "pkg/module.py"),
        ("pkg @ file://{folder}/pkg", "pkg/module.py"),
        ("file://{folder}/pkg", "pkg/module.py"),
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
