"""The fake dbt says, leaves behind and ends with what the real one does, when nodes end the same way."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import FakeVenv, NodeOutcome
from tests.pytest_cosmos_venv.fake_dbt.real_and_fake import Answer, Dbt, write_project
from tests.pytest_cosmos_venv.inner_run import python_of


@dataclass(frozen=True)
class Run:
    """One call of the real dbt and what it left behind."""

    answer: Answer
    artifacts: dict[str, dict[str, Any]]


class RealRuns:
    """Calls of one real dbt, each made once for the tests of this module."""

    def __init__(self, dbt: Dbt) -> None:
        self._dbt = dbt
        self._runs: dict[tuple[str, ...], Run] = {}

    def __call__(self, *arguments: str) -> Run:
        if arguments not in self._runs:
            for file in self._dbt.target.glob("*.json"):
                file.unlink()
            self._runs[arguments] = Run(self._dbt.run(*arguments), artifacts_of(self._dbt))
        return self._runs[arguments]


@pytest.fixture(scope="module")
def real(real_dbt: Dbt) -> RealRuns:
    return RealRuns(real_dbt)


@pytest.fixture(scope="module")
def real_110(tmp_path_factory: pytest.TempPathFactory) -> RealRuns:
    project = write_project(tmp_path_factory.mktemp("real-1.10") / "shop")
    return RealRuns(Dbt(python_of("dbt110").with_name("dbt"), project))


def artifacts_of(dbt: Dbt) -> dict[str, dict[str, Any]]:
    names = ("manifest.json", "run_results.json", "sources.json")
    files = [dbt.target / name for name in names if (dbt.target / name).exists()]
    return {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


def outcomes(run_results: dict[str, Any]) -> dict[str, NodeOutcome | str]:
    """A script that lets the nodes end as they ended for the real dbt."""
    return {
        result["unique_id"]: NodeOutcome(
            status=result["status"], message=result["message"], failures=result["failures"]
        )
        for result in run_results["results"]
    }


def essence(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = ("unique_id", "status", "message", "failures", "compiled", "thread_id", "batch_results")
    return sorted(({key: result[key] for key in keys} for result in results), key=lambda each: each["unique_id"])


@pytest.mark.long
@pytest.mark.parametrize("version", ["1.11", pytest.param("1.10", marks=pytest.mark.exhaustive)])
def test_a_build_that_fails_and_warns_reads_the_same(
    version: str, request: pytest.FixtureRequest, fake_dbt: Dbt, cosmos_fake_venv: FakeVenv
) -> None:
    real = request.getfixturevalue("real" if version == "1.11" else "real_110")("build")
    cosmos_fake_venv.script("build", nodes=outcomes(real.artifacts["run_results.json"]))

    answer = fake_dbt.run("build")

    # Where tests stand among the nodes is told by YAML, which the fake does not read: its lines are the same, and
    # numbered in another order.
    assert sorted(without_position(answer.lines)) == sorted(without_position(real.answer.lines))
    assert answer.exit_code == real.answer.exit_code == 1
    fake_results = artifacts_of(fake_dbt)["run_results.json"]["results"]
    assert essence(fake_results) == essence(real.artifacts["run_results.json"]["results"])


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("run", "-s", "orders", "totals", "piers_copy"), id="models-that-succeed"),
        pytest.param(("run", "-s", "nope"), id="a-selection-that-meets-nothing"),
    ],
)
def test_what_succeeds_reads_the_same_without_a_script(
    arguments: tuple[str, ...], real: RealRuns, fake_dbt: Dbt
) -> None:
    expected, answer = real(*arguments), fake_dbt.run(*arguments)

    assert answer.lines == expected.answer.lines
    assert answer.exit_code == expected.answer.exit_code == 0
    assert ("run_results.json" in artifacts_of(fake_dbt)) == ("run_results.json" in expected.artifacts)


@pytest.mark.long
def test_run_results_name_the_folders_of_the_run(real: RealRuns, real_dbt: Dbt, fake_dbt: Dbt) -> None:
    arguments = ("run", "-s", "orders", "totals", "piers_copy")

    fake_dbt.run(*arguments)

    for dbt, artifacts in ((real_dbt, real(*arguments).artifacts), (fake_dbt, artifacts_of(fake_dbt))):
        args = artifacts["run_results.json"]["args"]
        named = {name: (dbt.project / args[name]).resolve() for name in ("project_dir", "profiles_dir")}
        assert named == dict.fromkeys(named, dbt.project.resolve()), dbt.executable


@pytest.mark.long
def test_exit_code_1_fails_the_node_and_skips_what_lies_below(
    real: RealRuns, fake_dbt: Dbt, cosmos_fake_venv: FakeVenv
) -> None:
    cosmos_fake_venv.script("run", exit_code=1)

    answer = fake_dbt.run("run", "-s", "broken", "below")

    expected = statuses(real("build").artifacts)
    assert answer.exit_code == 1
    assert statuses(artifacts_of(fake_dbt)) == {
        name: expected[name] for name in ("model.shop.broken", "model.shop.below")
    }


@pytest.mark.long
def test_exit_code_2_is_an_error_before_anything_ran(
    real_dbt: Dbt, tmp_path: Path, fake_dbt: Dbt, cosmos_fake_venv: FakeVenv
) -> None:
    project = write_project(tmp_path / "uncompilable")
    (project / "models" / "lost.sql").write_text("select * from {{ ref('no_such_model') }}\n", encoding="utf-8")
    real = Dbt(real_dbt.executable, project)
    cosmos_fake_venv.script("run", exit_code=2)

    expected, answer = real.run("run"), fake_dbt.run("run")

    assert answer.exit_code == expected.exit_code == 2
    assert answer.lines[:3] == expected.lines[:3]
    assert answer.lines[2] == "Encountered an error:"
    assert "run_results.json" not in {*artifacts_of(real), *artifacts_of(fake_dbt)}


@pytest.mark.long
def test_a_json_log_has_the_same_events_with_the_same_keys(real: RealRuns, fake_dbt: Dbt) -> None:
    arguments = ("--log-format", "json", "run", "-s", "orders")

    expected, answer = real(*arguments).answer, fake_dbt.run(*arguments)

    ours, theirs = events(answer), events(expected)
    assert [name for name, _, _ in ours] == [name for name, _, _ in theirs]
    for (name, info, data), (_, real_info, real_data) in zip(ours, theirs, strict=True):
        assert info.keys() == real_info.keys(), name
        assert data.keys() == real_data.keys(), name
        assert (info["code"], info["level"]) == (real_info["code"], real_info["level"]), name
        if "node_info" in data:
            assert data["node_info"].keys() == real_data["node_info"].keys()
            assert data["node_info"]["node_status"] == real_data["node_info"]["node_status"]


def test_the_artifacts_have_every_key_of_the_real_ones(real: RealRuns, fake_dbt: Dbt) -> None:
    arguments = ("run", "-s", "orders", "totals", "piers_copy")
    expected = real(*arguments).artifacts

    fake_dbt.run(*arguments)

    artifacts = artifacts_of(fake_dbt)
    assert artifacts.keys() == expected.keys()
    for name, content in artifacts.items():
        assert content.keys() == expected[name].keys(), name
        assert content["metadata"].keys() <= expected[name]["metadata"].keys(), name
        assert content["metadata"]["dbt_schema_version"] == expected[name]["metadata"]["dbt_schema_version"]
    result, real_result = (each["run_results.json"]["results"][0] for each in (artifacts, expected))
    assert result.keys() == real_result.keys()
    assert [each.keys() for each in result["timing"]] == [each.keys() for each in real_result["timing"]]
    nodes, real_nodes = (each["manifest.json"]["nodes"] for each in (artifacts, expected))
    for unique_id, node in nodes.items():
        assert node.keys() <= real_nodes[unique_id].keys()
        for key in ("fqn", "resource_type", "original_file_path", "path", "package_name", "alias", "language"):
            assert node.get(key) == real_nodes[unique_id].get(key), (unique_id, key)
        assert node["depends_on"].get("nodes") == real_nodes[unique_id]["depends_on"].get("nodes")
        assert node["config"]["materialized"] == real_nodes[unique_id]["config"]["materialized"]


@pytest.mark.long
def test_a_late_source_reads_the_same(real: RealRuns, fake_dbt: Dbt, cosmos_fake_venv: FakeVenv) -> None:
    expected = real("source", "freshness")
    cosmos_fake_venv.script("source freshness", nodes={"source.shop.raw.late": "warn"})

    answer = fake_dbt.run("source", "freshness")

    assert answer.lines == [line for line in expected.answer.lines if line != "Pulling freshness from warehouse"]
    assert answer.exit_code == expected.answer.exit_code == 0
    ours, theirs = (each["sources.json"] for each in (artifacts_of(fake_dbt), expected.artifacts))
    assert ours.keys() == theirs.keys()
    assert [each.keys() for each in ours["results"]] == [each.keys() for each in theirs["results"]]
    assert [each["status"] for each in ours["results"]] == [each["status"] for each in theirs["results"]] == ["warn"]


@pytest.mark.long
@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(["--resource-type", "model", "snapshot", "seed"], id="kinds"),
        pytest.param(["--resource-type", "model", "seed", "--exclude-resource-type", "seed"], id="but-one"),
    ],
)
def test_ls_lists_the_same_files(kinds: list[str], real: RealRuns, fake_dbt: Dbt) -> None:
    arguments = ("ls", "--output", "json", *kinds)

    expected, answer = real(*arguments).answer, fake_dbt.run(*arguments)

    ours, theirs = listed(answer), listed(expected)
    assert ours.keys() == theirs.keys()
    for unique_id, node in ours.items():
        assert node.keys() == theirs[unique_id].keys()
        for key in ("name", "alias", "resource_type", "package_name", "original_file_path"):
            assert node[key] == theirs[unique_id][key]
        assert node["depends_on"].get("nodes") == theirs[unique_id]["depends_on"].get("nodes")
    assert answer.lines[:3] == expected.lines[:3]


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments", [["deps"], ["run", "--project-dir", "{folder}/missing"], ["run", "--project-dir", "{folder}"]]
)
def test_what_looks_at_no_node_reads_the_same(
    arguments: list[str], real: RealRuns, fake_dbt: Dbt, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # A folder of the machine will not do: one on which /nonexistent had been made got other words from dbt.
    empty = tmp_path_factory.mktemp("empty")
    words = [word.format(folder=empty) for word in arguments]

    expected, answer = real(*words).answer, fake_dbt.run(*words)

    assert answer.exit_code == expected.exit_code
    assert set(answer.lines) == set(expected.lines)
    assert answer.stderr == expected.stderr


@pytest.mark.long
def test_deps_installs_the_same_and_a_run_without_it_is_refused_in_the_same_words(
    real_dbt: Dbt, fake_dbt: Dbt, tmp_path: Path
) -> None:
    said = []
    for name, each in (("real", real_dbt), ("fake", fake_dbt)):
        dbt = Dbt(each.executable, write_project(tmp_path / name / "shop"))
        for package in (tmp_path / name / "shared", dbt.project / "inner"):
            package.mkdir()
            (package / "dbt_project.yml").write_text(f"name: {package.name}\n")
        (dbt.project / "packages.yml").write_text("packages:\n  - local: ../shared\n  - local: inner\n")

        answers = [dbt.run(*words.split()) for words in ("run -s orders", "deps", "deps", "run -s orders")]
        installed = {link.name: str(link.readlink()) for link in (dbt.project / "dbt_packages").iterdir()}
        (tmp_path / name / "shared" / "dbt_project.yml").unlink()
        answers.append(dbt.run("deps"))

        told = str([*(answer.lines for answer in answers), sorted(installed.items())])
        lock = re.sub(r"sha1_hash: \w+", "", (dbt.project / "package-lock.yml").read_text())
        said.append([[answer.exit_code for answer in answers], told.replace(str(tmp_path / name), ""), lock])

    assert said[0] == said[1]
    assert said[0][0] == [2, 0, 0, 0, 2]


@pytest.mark.long
def test_the_version_reads_the_same_and_an_open_standard_input_holds_nobody_up(real_dbt: Dbt, fake_dbt: Dbt) -> None:
    said = []
    for dbt in (real_dbt, fake_dbt):
        with dbt.start("--version", stdin=subprocess.PIPE) as process:
            assert process.wait(timeout=60) == 0
            assert process.stdout is not None
            said.append(process.stdout.read().splitlines())

    theirs, ours = said
    assert without_plugins(ours) == without_plugins(theirs)


def statuses(artifacts: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {each["unique_id"]: each["status"] for each in artifacts["run_results.json"]["results"]}


def without_position(lines: list[str]) -> list[str]:
    """Without the number of a node, and the dots, which are fewer where that number is longer."""
    return [re.sub(r"\.{4,}", "...", re.sub(r"^\d+ of \d+ ", "", line)) for line in lines]


def without_plugins(lines: list[str]) -> list[str]:
    """Which versions of what are installed, and where dbt asks for news of itself, is not what is compared."""
    apart = ("postgres", "following URL", "https://")
    return [re.sub(r": .*", ":", line) for line in lines if line and not any(each in line for each in apart)]


def events(answer: Answer) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    found = [json.loads(line) for line in answer.stdout.splitlines()]
    told = [each for each in found if each["info"]["name"] not in ("UnableToPartialParse", "PartialParsingNotEnabled")]
    return [(each["info"]["name"], each["info"], each["data"]) for each in told]


def listed(answer: Answer) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{")]
    return {line["unique_id"]: line for line in lines}
