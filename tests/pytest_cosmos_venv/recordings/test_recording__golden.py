"""Golden recordings of each release of dbt are the contract of replays and of the fake dbt.

``record_golden.py`` makes them anew. Where an environment of a release is there, the real dbt is compared too.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import FakeVenv, NodeOutcome
from pytest_cosmos_venv.recordings.recording import RecordedCommand, read_recording
from tests.pytest_cosmos_venv.fake_dbt.real_and_fake import comparable
from tests.pytest_cosmos_venv.inner_run import python_of
from tests.pytest_cosmos_venv.recordings.conftest import MakeReplay
from tests.pytest_cosmos_venv.recordings.record_golden import (
    COMMANDS,
    DATA,
    FRESHNESS,
    LISTINGS,
    PARTIAL,
    PINGS,
    PROJECT,
    RELEASES,
    WHOLE,
    record,
)

DEADLINE = 120.0
QUIET = {"DBT_USE_COLORS": "0"}
ENVIRONMENTS = {"1.10": "dbt110", "1.11": "dbt111", "2.0": "dbt2"}
# What the real one says of its own work and the fake dbt does not do: it parses nothing, and is connected to nothing.
_NOT_OF_NODES = (
    "ArtifactWritten",
    "CommandCompleted",
    "MainReportArgs",
    "Note",
    "UnableToPartialParse",
    "PackageRedirectDeprecation",
    "InputFileDiffError",
    "PartialParsingSkipParsing",
)
_BY_RELEASE = [
    pytest.param(release, command, id=f"{release}-{' '.join(command)}")
    for release in RELEASES
    for command in (*COMMANDS, PARTIAL)
    if command != PARTIAL or not release.startswith("2")
]


_DBT_1 = [release for release in RELEASES if not release.startswith("2")]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "harbor"
    for name, text in PROJECT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def golden(release: str, command: tuple[str, ...]) -> RecordedCommand:
    (found,) = [each for each in read_recording(DATA / release).commands if each.arguments == command]
    return found


def call(dbt: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(dbt), *arguments], cwd=cwd, env=QUIET, capture_output=True, text=True, timeout=DEADLINE, check=False
    )


def results_of(project: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((project / "target" / "run_results.json").read_text(encoding="utf-8"))
    return content


def lines(stdout: str) -> list[str]:
    """The lines without times and circumstances, and without the numbers and the order of nodes that have no order."""
    found = [line for line in map(comparable, stdout.splitlines()) if line is not None]
    return sorted(
        re.sub(r"^\d+ of (\d+) ", r"# of \1 ", re.sub(r"\[[ \d.#]+(ms|s|us)\]", "[#]", line)) for line in found
    )


def names(events: Iterable[dict[str, Any]]) -> Counter[str]:
    """How often an event of each name comes, of those that are shown and tell of the work."""
    return Counter(
        each["info"]["name"]
        for each in events
        if each["info"]["level"] != "debug" and each["info"]["name"] not in (*_NOT_OF_NODES, "Formatting")
    )


def keys(results: dict[str, Any] | None) -> dict[str, set[str]]:
    """The keys of run_results.json, and those of the row of each node; of no file, none."""
    if results is None:
        return {}
    rows = {row["unique_id"]: set(row) for row in results["results"]}
    return {"": set(results), "metadata": set(results["metadata"]), **rows}


def statuses(results: dict[str, Any]) -> dict[str, str]:
    return {row["unique_id"]: row["status"] for row in results["results"]}


def outcomes(command: RecordedCommand) -> dict[str, NodeOutcome | str]:
    rows = command.artifact("run_results.json")["results"]
    return {
        row["unique_id"]: NodeOutcome(status=row["status"], message=row["message"], failures=row.get("failures"))
        for row in rows
    }


@pytest.mark.parametrize("release", RELEASES)
def test_goldens_are_those_of_their_release_and_name_no_machine(release: str) -> None:
    recording = read_recording(DATA / release)

    assert recording.dbt_version.startswith(release)
    assert not [name for name, text in recording.files.items() if re.search(r"/(home|root|tmp|work|Users)/", text)]


@pytest.mark.parametrize(("release", "command"), _BY_RELEASE)
def test_a_replay_equals_the_recording(
    release: str, command: tuple[str, ...], make_replay: MakeReplay, project: Path
) -> None:
    recorded = golden(release, command)
    replay = make_replay(DATA / release)

    done = call(replay.dbt, *command, cwd=project)

    assert done.returncode == recorded.exit_code
    places = {"<project>": project, "<logs>": project / "logs", "<environment>": replay.path}
    said = [recorded.stdout, recorded.stderr]
    for word, place in places.items():
        said = [text.replace(word, str(place)) for text in said]
    assert [done.stdout, done.stderr] == said
    assert statuses(results_of(project)) == recorded.nodes
    assert keys(results_of(project)) == keys(recorded.artifact("run_results.json"))


@pytest.mark.parametrize("release", RELEASES)
def test_the_fake_dbt_scripted_alike_has_the_same_events(
    release: str, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    recorded = golden(release, WHOLE)
    venv = cosmos_fake_venv(dbt_version=read_recording(DATA / release).dbt_version)
    venv.script("build", nodes=outcomes(recorded))

    done = call(venv.dbt, *WHOLE, cwd=project)

    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert names(events) == names(recorded.events)
    assert done.returncode == recorded.exit_code
    assert keys(results_of(project)) == keys(recorded.artifact("run_results.json"))
    assert statuses(results_of(project)) == recorded.nodes


def without(release: str, commands: tuple[tuple[str, ...], ...], folder: Path) -> Path:
    """Write a recording in which these commands were not made."""
    recording = shutil.copytree(DATA / release, folder / "recording")
    index = json.loads((recording / "recording.json").read_text(encoding="utf-8"))
    index["commands"] = [each for each in index["commands"] if tuple(each["arguments"]) not in commands]
    (recording / "recording.json").write_text(json.dumps(index), encoding="utf-8")
    return recording


def listed(stdout: str, *, is_native: bool) -> list[Any]:
    """What dbt ls says of the nodes, without the lines of the log and the frame.

    dbt 1 finds more macros when it builds, and dbt 2 lists other settings than its manifest has.
    """
    found = [line for line in stdout.splitlines() if re.match(r"[a-z{]", line)]
    nodes = [json.loads(line) if line.startswith("{") else line for line in found]
    for node in nodes:
        if isinstance(node, dict):
            node.get("depends_on", {}).pop("macros", None)
            if is_native and "config" in node:
                node["config"] = {name: node["config"].get(name) for name in ("enabled", "materialized", "tags")}
    return nodes


@pytest.mark.parametrize("command", LISTINGS, ids=" ".join)
@pytest.mark.parametrize("release", RELEASES)
def test_a_listing_that_was_not_recorded_is_that_of_the_real_one(
    release: str, command: tuple[str, ...], make_replay: MakeReplay, project: Path, tmp_path: Path
) -> None:
    is_native = release.startswith("2")
    expected = listed(golden(release, command).stdout, is_native=is_native)
    replay = make_replay(without(release, (*LISTINGS, PARTIAL), tmp_path))

    done = call(replay.dbt, *command, cwd=project)

    assert done.returncode == 0, done.stderr
    assert listed(done.stdout, is_native=is_native) == expected
    assert [line for line in map(str, expected) if "source" in line or line.startswith("raw.")]


@pytest.mark.parametrize("release", _DBT_1)
def test_the_freshness_of_sources_is_replayed_for_all_and_for_one(
    release: str, make_replay: MakeReplay, project: Path
) -> None:
    recorded = golden(release, FRESHNESS)
    replay = make_replay(DATA / release)

    whole = call(replay.dbt, *FRESHNESS, cwd=project)
    all_rows = json.loads((project / "target" / "sources.json").read_text(encoding="utf-8"))["results"]
    one = call(replay.dbt, *FRESHNESS, "--select", "source:raw.arrivals", cwd=project)
    one_row = json.loads((project / "target" / "sources.json").read_text(encoding="utf-8"))["results"]

    assert (whole.stdout, whole.returncode) == (recorded.stdout, 1)
    assert all_rows == recorded.artifact("sources.json")["results"]
    assert one_row == all_rows[:1]
    assert one.returncode == 0
    assert "1 of 1 WARN freshness of raw.arrivals" in one.stdout
    assert "departures" not in one.stdout


@pytest.mark.parametrize("release", _DBT_1)
def test_the_fake_dbt_scripted_alike_ends_a_partial_success_alike(
    release: str, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    recorded = golden(release, PARTIAL)
    (project / "models" / "pings.sql").write_text(PINGS, encoding="utf-8")
    venv = cosmos_fake_venv(dbt_version=read_recording(DATA / release).dbt_version)
    venv.script("run", nodes={"pings": "partial success"})

    done = call(venv.dbt, *PARTIAL, cwd=project)

    assert done.returncode == recorded.exit_code
    assert statuses(results_of(project)) == recorded.nodes
    assert keys(results_of(project)) == keys(recorded.artifact("run_results.json"))


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("release", list(ENVIRONMENTS))
def test_the_goldens_are_what_the_real_dbt_does_today(release: str, tmp_path: Path) -> None:
    dbt = python_of(ENVIRONMENTS[release]).with_name("dbt")

    record(dbt, tmp_path / "harbor", tmp_path / "recording", is_native=release.startswith("2"))

    recorded = read_recording(DATA / release)
    for before, now in zip(recorded.commands, read_recording(tmp_path / "recording").commands, strict=True):
        assert (now.arguments, now.exit_code, now.nodes) == (before.arguments, before.exit_code, before.nodes)
        assert names(now.events) == names(before.events)
        assert keys(now.artifact("run_results.json")) == keys(before.artifact("run_results.json"))
        assert lines(now.stderr) == lines(before.stderr)
