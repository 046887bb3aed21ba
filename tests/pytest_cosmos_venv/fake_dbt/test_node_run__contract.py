"""The fake dbt says, leaves behind and ends with what the real one does, when nodes end the same way."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import FakeVenv
from tests.pytest_cosmos_venv.fake_dbt.real_and_fake import Answer, Dbt, write_project


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


def artifacts_of(dbt: Dbt) -> dict[str, dict[str, Any]]:
    names = ("manifest.json", "run_results.json", "sources.json")
    files = [dbt.target / name for name in names if (dbt.target / name).exists()]
    return {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


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
@pytest.mark.parametrize(
    "sql",
    [
        "select * from {{ ref('odrers') }}",
        "select * from {{ ref('orders', v=2) }}",
        "select * from {{ source('raw', 'early') }}",
    ],
)
def test_a_reference_without_a_target_is_an_error_in_the_same_words(
    sql: str, real_dbt: Dbt, tmp_path: Path, fake_dbt: Dbt
) -> None:
    real = Dbt(real_dbt.executable, write_project(tmp_path / "refused"))
    for dbt in (real, fake_dbt):
        (dbt.project / "models" / "lost.sql").write_text(sql, encoding="utf-8")

    expected, answer = real.run("run", "-s", "orders"), fake_dbt.run("run", "-s", "orders")

    assert answer.exit_code == expected.exit_code == 2
    assert answer.lines == expected.lines


@pytest.mark.long
def test_a_json_log_has_the_same_events_with_the_same_keys(real: RealRuns, fake_dbt: Dbt) -> None:
    arguments = ("--log-format", "json", "run", "-s", "orders")

    expected, answer = real(*arguments).answer, fake_dbt.run(*arguments)

    ours, theirs = events(answer), events(expected)
    assert [name for name, _, _ in ours] == [name for name, _, _ in theirs]
    for (name, info, data), (_, real_info, real_data) in zip(ours, theirs, strict=True):
        assert info.keys() == real_info.keys(), name
        assert data.keys() == real_data.keys(), name
        assert info["level"] == real_info["level"], name
        if "node_info" in data:
            assert data["node_info"].keys() == real_data["node_info"].keys()
            assert data["node_info"]["node_status"] == real_data["node_info"]["node_status"]


@pytest.mark.long
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
    # The fake prints no usage text before the error.
    assert answer.stderr.splitlines()[-1:] == expected.stderr.splitlines()[-1:]


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


def events(answer: Answer) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    found = [json.loads(line) for line in answer.stdout.splitlines()]
    told = [each for each in found if each["info"]["name"] not in ("UnableToPartialParse", "PartialParsingNotEnabled")]
    return [(each["info"]["name"], each["info"], each["data"]) for each in told]
