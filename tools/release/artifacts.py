"""The files of a release: built from one commit, compared, checked and listed.

Nothing of the working tree gets into them: what is built is a copy of the commit.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = (".", "pytest_cosmos_venv")
# Of ten. Two points are missing, for a home page and for an address of the authors: there are none yet.
PYROMA_MARK = "8"
SUMS, NOTES, STATEMENT = "SHA256SUMS", "RELEASE-NOTES.md", "provenance.json"


class ReleaseError(Exception):
    """The release cannot be made. The text says which file or command is wrong, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Commit:
    """The commit that is released.

    :param checkout: the folder of the repository.
    :param digest: its full name.
    :param time: seconds since 1970, the time of each file in the archives.
    """

    checkout: Path
    digest: str
    time: int

    @property
    def changelog(self) -> str:
        return (self.checkout / "CHANGELOG.md").read_text(encoding="utf-8")


def released_commit(checkout: Path = ROOT) -> Commit:
    """The commit that is checked out.

    :param checkout: the folder of the repository.
    :raises ReleaseError: when files are not committed, as they would be missing in the release.
    """
    changed = output(["git", "status", "--porcelain"], cwd=checkout)
    if changed:
        raise ReleaseError(f"These files are not committed, and would not be released:\n{changed}\nCommit them first.")
    digest, time = output(["git", "log", "-1", "--format=%H %ct"], cwd=checkout).split()
    return Commit(checkout=checkout, digest=digest, time=int(time))


def build_twice(commit: Commit, folder: Path) -> list[Path]:
    """The sdist and the wheel of each distribution, in ``folder / "dist"``.

    They are built twice, at different places.

    :param folder: an empty folder.
    :raises ReleaseError: when the second time gave other bytes than the first, or a build failed.
    """
    first, second = (_build(commit, folder / name) for name in ("first", "second"))
    if first.keys() != second.keys():
        raise ReleaseError(f"The second build has made other files: {sorted(first)}, then {sorted(second)}.")
    different = [name for name in first if digest_of(first[name]) != digest_of(second[name])]
    if different:
        raise ReleaseError(f"Two builds of {', '.join(different)} differ. diffoscope shows where: {folder}")
    dist = folder / "dist"
    dist.mkdir()
    return [file.rename(dist / name) for name, file in sorted(first.items())]


def check(files: Sequence[Path]) -> None:
    """Refuse what a package index, an installer or a reader of the project's page would trip over.

    :raises ReleaseError: with what the checker says.
    """
    names = [str(file) for file in files]
    output([sys.executable, "-m", "twine", "check", "--strict", *names])
    output([sys.executable, "-m", "check_wheel_contents", *(name for name in names if name.endswith(".whl"))])
    for sdist in (name for name in names if name.endswith(".tar.gz")):
        output([sys.executable, "-m", "pyroma", "--min", PYROMA_MARK, "--file", sdist])


def version_of(files: Sequence[Path]) -> str:
    """The version of the release.

    :raises ReleaseError: when the two distributions have different ones.
    """
    versions = {file.name.removesuffix(".tar.gz").rpartition("-")[2] for file in files if file.suffix == ".gz"}
    if len(versions) != 1:
        raise ReleaseError(
            f"The distributions have different versions: {', '.join(sorted(versions))}. "
            "Write one into cosmos_venv/version.py and pytest_cosmos_venv/__init__.py."
        )
    return versions.pop()


def notes_of(changelog: str, version: str) -> str:
    """What ``CHANGELOG.md`` says of a version, without its heading.

    :raises ReleaseError: when it has no dated section for it.
    """
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n"
    found = re.search(heading + r"(.*?)(?=^## \[|^\[[^\]]+\]: |\Z)", changelog, re.M | re.S)
    if found is None:
        raise ReleaseError(f"CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD'. Write it before the release.")
    return found[1].strip() + "\n"


def write_lists(folder: Path, files: Sequence[Path], *, commit: Commit, trials: Sequence[Mapping[str, Any]]) -> None:
    """Write the checksums, the notes and the provenance beside the files.

    :param folder: where the files lie.
    :param trials: where the files were tried, and with what results.
    :raises ReleaseError: when ``CHANGELOG.md`` has no section of this version.
    """
    version = version_of(files)
    (folder / NOTES).write_text(notes_of(commit.changelog, version), encoding="utf-8")
    digests = {file.name: digest_of(file) for file in files}
    (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()), encoding="ascii")
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in digests.items()],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:cosmos-venv:make-release:v1",
                "externalParameters": {"version": version},
                "internalParameters": {"SOURCE_DATE_EPOCH": commit.time, "python": sys.version.split()[0]},
                "resolvedDependencies": [{"uri": "git+cosmos-venv", "digest": {"gitCommit": commit.digest}}],
            },
            "runDetails": {
                "builder": {"id": os.environ.get("GITHUB_WORKFLOW_REF", "make release")},
                "byproducts": [{"name": "trials", "annotations": {"trials": list(trials)}}],
            },
        },
    }
    (folder / STATEMENT).write_text(json.dumps(statement, indent=2) + "\n", encoding="utf-8")


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def output(command: Sequence[str], *, cwd: Path = ROOT, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints, both streams.

    :param environment: all of its variables; None: those of this process.
    :raises ReleaseError: with the end of it, when the command fails.
    """
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        end = "\n".join(done.stdout.splitlines()[-40:])
        raise ReleaseError(f"{' '.join(command)} ended with {done.returncode}:\n{end}")
    return done.stdout.strip()


def _build(commit: Commit, folder: Path) -> dict[str, Path]:
    """Both archives of each distribution, built from a copy of the commit: file name -> file."""
    source, built = folder / "source", folder / "built"
    source.mkdir(parents=True)
    archived = folder / "source.tar"
    output(["git", "archive", "--output", str(archived), commit.digest], cwd=commit.checkout)
    with tarfile.open(archived) as archive:
        archive.extractall(source, filter="data")
    for project in PROJECTS:
        # The wheel is built from the sdist: whoever builds from source gets what is on the index.
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(source / project)]
        output(command, cwd=source, environment={**os.environ, "SOURCE_DATE_EPOCH": str(commit.time)})
    return {file.name: file for file in built.iterdir()}
