"""The files of a release are those of a commit, the same bytes each time, with notes, checksums and provenance."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.installed import ROOT
from tools.release.artifacts import (
    ReleaseError,
    build_twice,
    notes_of,
    released_commit,
    version_of,
    write_lists,
)

CHANGELOG = """# Changelog

## [Unreleased]

## [0.2.0] - 2026-12-01

### Added

- A thing.

## [0.1.0] - 2026-11-22

### Added

- Everything.

[0.2.0]: somewhere
"""
GIT = ["git", "-c", "user.name=Author", "-c", "user.email=author@harbor.example"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of one commit: both projects as they stand here, and the changelog above."""
    folder = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", "dist", "reports")
    for name in ("cosmos_venv", "pytest_cosmos_venv", "conformance"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored, symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy2(ROOT / name, folder)
    (folder / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "Begin"]):
        subprocess.run([*GIT, *words], cwd=folder, check=True)
    return folder


def test_the_notes_of_a_release_are_its_section_of_the_changelog() -> None:
    assert notes_of(CHANGELOG, "0.2.0") == "### Added\n\n- A thing.\n"
    assert notes_of(CHANGELOG, "0.1.0") == "### Added\n\n- Everything.\n"


def test_a_line_of_the_notes_may_begin_with_a_link() -> None:
    section = "Read first:\n[Upgrade](docs/upgrade.md).\n"
    changelog = f"## [0.2.0] - 2026-12-01\n\n{section}\n[0.2.0]: https://code.example.com/0.2.0\n"

    assert notes_of(changelog, "0.2.0") == section


def test_a_version_without_a_dated_section_is_refused() -> None:
    with pytest.raises(ReleaseError, match=r"no section '## \[0\.3\.0\] - YYYY-MM-DD'"):
        notes_of(CHANGELOG, "0.3.0")


def test_two_distributions_of_different_versions_are_no_release() -> None:
    files = [Path("cosmos_venv-0.2.0.tar.gz"), Path("pytest_cosmos_venv-0.1.0.tar.gz")]

    with pytest.raises(ReleaseError, match=r"0\.1\.0, 0\.2\.0.*version\.py and pytest_cosmos_venv/__init__\.py"):
        version_of(files)


def test_a_file_that_is_not_committed_stops_the_release(checkout: Path) -> None:
    (checkout / "cosmos_venv" / "added.py").write_text("", encoding="utf-8")

    with pytest.raises(ReleaseError, match=r"cosmos_venv/added\.py"):
        released_commit(checkout)


@pytest.mark.long
def test_two_builds_of_a_commit_are_the_same_bytes_and_are_listed(checkout: Path, tmp_path: Path) -> None:
    commit = released_commit(checkout)
    folder = tmp_path / "work"
    folder.mkdir()

    files = build_twice(commit, folder)

    version = version_of(files)
    (checkout / "CHANGELOG.md").write_text(CHANGELOG.replace("0.2.0", version, 1), encoding="utf-8")
    write_lists(folder / "dist", files, commit=commit, trials=[])
    assert [file.suffix for file in files] == [".whl", ".gz", ".whl", ".gz"]
    sums = (folder / "dist" / "SHA256SUMS").read_text(encoding="ascii")
    assert sums == "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    statement = json.loads((folder / "dist" / "provenance.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in statement["subject"]] == [file.name for file in files]
    assert commit.digest in json.dumps(statement["predicate"])
    assert (folder / "dist" / "RELEASE-NOTES.md").read_text(encoding="utf-8").startswith("### Added")


@pytest.mark.long
def test_a_build_that_differs_the_second_time_is_no_release(checkout: Path, tmp_path: Path) -> None:
    hook = checkout / "pytest_cosmos_venv" / "hatch_build.py"
    hook.write_text(NOT_REPRODUCIBLE.lstrip(), encoding="utf-8")
    with (checkout / "pytest_cosmos_venv" / "pyproject.toml").open("a", encoding="utf-8") as project:
        project.write("\n[tool.hatch.build.hooks.custom]\n")
    for words in (["add", "."], ["commit", "--quiet", "--message", "Break it"]):
        subprocess.run([*GIT, *words], cwd=checkout, check=True)
    folder = tmp_path / "work"
    folder.mkdir()

    with pytest.raises(ReleaseError, match="Two builds of pytest_cosmos_venv"):
        build_twice(released_commit(checkout), folder)


NOT_REPRODUCIBLE = """
import os
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Hook(BuildHookInterface):
    def initialize(self, version, build_data):
        path = Path(self.root, "built_at.py")
        path.write_text(f"BY = {os.getpid()}")
        build_data["artifacts"].append("/built_at.py")
"""
