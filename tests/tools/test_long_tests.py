"""Each long test belongs to one part, and a part stays proven until its files change."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools import long_tests
from tools.long_tests import Part, Proof, digest_of, is_proven, parts


def test_each_file_with_long_tests_is_in_one_part() -> None:
    tests = long_tests.ROOT / "tests"
    marked = [path for path in tests.rglob("test_*.py") if "mark.long" in path.read_text(encoding="utf-8")]

    listed = parts()

    assert len(marked) > 50
    assert {path: sum(_holds(part, path) for part in listed) for path in marked} == dict.fromkeys(marked, 1)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [("tests/locks/test_lock.py", False), ("cosmos_venv/locks/lock.py", False), ("cosmos_venv/other.py", True)],
)
def test_a_part_is_proven_until_its_tests_or_their_code_change(
    changed: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tests/locks/test_lock.py", "cosmos_venv/locks/lock.py", "cosmos_venv/other.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    for command in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(long_tests, "ROOT", tmp_path)
    part = Part(name="tests/locks", paths=(tmp_path / "tests" / "locks",))
    proof = Proof(tree=digest_of(part), day="2026-11-28", minutes=1.0)

    (tmp_path / changed).write_text("after")

    assert is_proven(part, proof) is expected


def test_a_part_with_a_failure_is_not_proven() -> None:
    part = parts()[0]

    assert not is_proven(part, Proof(tree=digest_of(part), day="2026-11-28", minutes=1.0, failures=("test_lock",)))


def _holds(part: Part, path: Path) -> bool:
    return any(path == each or each in path.parents for each in part.paths)
