"""dbt's parse file, kept from one command to the next."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import pytest

from cosmos_venv.dbt.partial_parse import PARTIAL_PARSE_FILE, ParsedProject, kept_file, moved
from cosmos_venv.dbt.workspace import Outputs, workspace

RUN = Path("/tmp/cosmos-venv-run-0123456789abcdef")  # noqa: S108 - a name only


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "harbor"
    (folder / "target").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text("name: harbor\n")
    return folder


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return kept_file(tmp_path / "cache", ["harbor", "profile"])


class OneCommand(NamedTuple):
    """The parse file that a command was offered, and the roots where it ran."""

    offered: str | None
    roots: set[str]
    place: Path


class Dbt(Protocol):
    def __call__(self, parsed: ParsedProject, leaves: str | None = None) -> OneCommand: ...


def parse_file(root: Path, made_for: str) -> bytes:
    """The part of dbt's parse file that is looked at, with a package and a file of dbt's own."""
    homes = {"harbor": root, "codes": root / "dbt_packages" / "codes", "dbt": Path("/env/dbt/include")}
    return msgspec.msgpack.encode(
        {
            "metadata": {"project_name": "harbor"},
            "nodes": {f"seed.{name}.s": {"root_path": str(home)} for name, home in homes.items()},
            "files": {
                f"{name}://x": {"project_name": name, "path": {"project_root": str(home)}}
                for name, home in homes.items()
            },
            "made_for": made_for,
        }
    )


@pytest.fixture
def dbt(project: Path) -> Dbt:
    """One command: says what it was offered, and leaves a parse file made for this."""

    def run(parsed: ParsedProject, leaves: str | None = None) -> OneCommand:
        with workspace(project, install_deps=False, parsed=parsed) as place:
            artifacts = Outputs.of(place, {}).artifacts()
            file = place / "target" / PARTIAL_PARSE_FILE
            found = msgspec.msgpack.decode(file.read_bytes()) if file.exists() else None
            if leaves is not None:
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(parse_file(place, leaves))
            parsed.keep(artifacts)
        roots = {home["path"]["project_root"] for home in found["files"].values()} if found else set()
        roots |= {node["root_path"] for node in found["nodes"].values()} if found else set()
        return OneCommand(offered=found and found["made_for"], roots=roots, place=place)

    return run


def test_what_one_command_leaves_the_next_is_offered(project: Path, kept: Path, dbt: Dbt) -> None:
    parsed = ParsedProject(project_dir=project, kept=kept)

    offered = [dbt(parsed, "first").offered, dbt(parsed, "second").offered, dbt(parsed).offered]

    assert offered == [None, "first", "second"]
    assert list(kept.parent.iterdir()) == [kept]


def leave(parsed: ParsedProject, project: Path, content: bytes | None) -> None:
    """One command that leaves this content, or what it was offered."""
    with workspace(project, install_deps=False, parsed=parsed) as place:
        artifacts = Outputs.of(place, {}).artifacts()
        (place / "target").mkdir(exist_ok=True)
        if content is not None:
            (place / "target" / PARTIAL_PARSE_FILE).write_bytes(content)
        parsed.keep(artifacts)


def test_a_file_that_was_cut_short_is_not_kept(project: Path, kept: Path) -> None:
    """A dbt that is killed by the kernel may leave half of it."""
    parsed = ParsedProject(project_dir=project, kept=kept)
    whole = parse_file(RUN, "whole")

    leave(parsed, project, whole)
    leave(parsed, project, whole[: len(whole) // 2])

    assert kept.read_bytes() == whole


def test_what_dbt_has_not_written_anew_is_not_kept_again(project: Path, kept: Path) -> None:
    parsed = ParsedProject(project_dir=project, kept=kept)
    leave(parsed, project, parse_file(RUN, "first"))
    os.utime(kept, times=(time.time() - 60,) * 2)
    before = kept.stat()

    leave(parsed, project, None)

    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("where", ["kept", "shipped"])
def test_what_is_offered_names_the_folder_of_the_command_that_reads_it(
    project: Path, kept: Path, dbt: Dbt, where: str
) -> None:
    """dbt-duckdb loads a seed from the folder that the parse file names: gone with the last command, or on another
    machine, or there with another CSV in it."""
    parsed = ParsedProject(project_dir=project, kept=kept)
    if where == "kept":
        dbt(parsed, "first")
    else:
        (project / "target" / PARTIAL_PARSE_FILE).write_bytes(parse_file(Path("/built/elsewhere"), "first"))

    second = dbt(parsed)

    assert second.offered == "first"
    assert second.roots == {
        str(second.place),
        str(second.place / "dbt_packages" / "codes"),
        "/env/dbt/include",
    }


@pytest.mark.parametrize(
    "old",
    [
        pytest.param("/tmp/cosmos-venv-run-00000000000000aa", id="as-long"),  # noqa: S108
        pytest.param("/var/tmp/cosmos-venv-run-00000000000000aa", id="longer"),  # noqa: S108
        pytest.param("/tmp/cosmos-venv-run-00000000000000aa/repo/dbt", id="deeper"),  # noqa: S108
    ],
)
def test_a_file_of_any_folder_is_the_same_but_for_the_folder(old: str) -> None:
    place = Path("/tmp/cosmos-venv-run-00000000000000bb")  # noqa: S108

    content = moved(parse_file(Path(old), "first"), old, place)

    assert msgspec.msgpack.decode(content) == msgspec.msgpack.decode(parse_file(place, "first"))


def test_the_projects_own_file_is_never_written(project: Path, dbt: Dbt) -> None:
    own = project / "target" / PARTIAL_PARSE_FILE
    own.write_bytes(parse_file(project, "own"))
    before = own.read_bytes()

    assert dbt(ParsedProject(project_dir=project), "newer").offered == "own"
    assert own.read_bytes() == before


@pytest.mark.parametrize(("seconds", "expected"), [(-60, "kept"), (60, "own")], ids=["own-older", "own-newer"])
def test_the_newer_of_the_two_is_offered(project: Path, kept: Path, dbt: Dbt, seconds: int, expected: str) -> None:
    parsed = ParsedProject(project_dir=project, kept=kept)
    dbt(parsed, "kept")
    own = project / "target" / PARTIAL_PARSE_FILE
    own.write_bytes(parse_file(project, "own"))
    os.utime(own, times=(kept.stat().st_mtime + seconds,) * 2)

    assert dbt(parsed).offered == expected


def test_only_the_newest_copies_are_kept(project: Path, kept: Path, dbt: Dbt) -> None:
    dbt(ParsedProject(project_dir=project, kept=kept), "mine")
    now = time.time()
    others = [kept.with_name(f"{number}.msgpack") for number in range(60)]
    half = kept.with_name(f".{'0' * 32}")
    for number, other in enumerate([*others, kept.with_name("old.msgpack"), half]):
        other.touch()
        os.utime(other, times=(now - 60 * (number + 1),) * 2)
    os.utime(kept.with_name("old.msgpack"), times=(now - 31 * 86_400,) * 2)
    os.utime(half, times=(now - 7_200,) * 2)

    dbt(ParsedProject(project_dir=project, kept=kept), "mine")

    assert set(kept.parent.iterdir()) == {kept, *others[:49]}


def test_a_folder_that_others_may_write_to_is_not_used(project: Path, kept: Path, dbt: Dbt) -> None:
    kept.parent.mkdir(parents=True)
    kept.parent.chmod(0o777)
    kept.write_bytes(parse_file(project, "somebody's"))

    assert dbt(ParsedProject(project_dir=project, kept=kept), "mine").offered is None
    assert msgspec.msgpack.decode(kept.read_bytes())["made_for"] == "somebody's"
