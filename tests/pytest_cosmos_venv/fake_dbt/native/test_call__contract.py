"""The fake of dbt 2 says, leaves behind and ends with what the real one does, when nodes end the same way."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_cosmos_venv import FakeVenv, NodeOutcome
from tests.pytest_cosmos_venv.fake_dbt.real_and_fake import DEADLINE, Answer, Dbt, write_project

Artifacts = dict[str, dict[str, Any]]
SLOW_SQL = "{{ config(materialized='table') }}\nselect count(*) as n from range(900000000000) t where sqrt(range) > 3\n"
BUSY = 0.3
"""Seconds of computing by which a query must have begun."""


@dataclass(frozen=True)
class Run:
    """One call of the real dbt and what it left behind."""

    answer: Answer
    artifacts: Artifacts


class RealRuns:
    """Calls of the real dbt 2, each made once for the tests of this module."""

    def __init__(self, dbt: Dbt) -> None:
        self.dbt = dbt
        self._runs: dict[tuple[str, ...], Run] = {}

    def __call__(self, *arguments: str) -> Run:
        if arguments not in self._runs:
            shutil.rmtree(self.dbt.target, ignore_errors=True)
            self._runs[arguments] = Run(self.dbt.run(*arguments), artifacts_of(self.dbt))
        return self._runs[arguments]


@pytest.fixture(scope="module")
def real(real_native_dbt: Dbt) -> RealRuns:
    return RealRuns(real_native_dbt)


@pytest.fixture
def fake(fake_native_dbt: Dbt) -> Dbt:
    return fake_native_dbt


def artifacts_of(dbt: Dbt) -> Artifacts:
    names = ("manifest.json", "run_results.json", "catalog.json")
    files = [dbt.target / name for name in names if (dbt.target / name).exists()]
    return {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


def outcomes(run_results: dict[str, Any]) -> dict[str, NodeOutcome | str]:
    """A script that lets the nodes end as they ended for the real dbt."""
    return {
        result["unique_id"]: NodeOutcome(
            status=result["status"], message=result["message"], failures=result.get("failures")
        )
        for result in run_results["results"]
    }


def lines(text: str, project: Path | None = None) -> list[str]:
    """A text without what differs from call to call: durations, places in YAML, which the fake does not read."""
    text = re.sub(r"\[ *\d+\.\d+s\]", "[#]", text)
    text = re.sub(r" \[[\d.]+(us|ms|s)\]$", " [#]", text, flags=re.MULTILINE)
    text = re.sub(r"(\.\w+):\d+:\d+\)", r"\1)", text)
    if project is not None:
        text = text.replace(str(project), "")
    return [line.rstrip() for line in text.splitlines()]


def essence(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    left_out = ("timing", "execution_time", "thread_id", "adapter_response")
    found = [{key: each for key, each in result.items() if key not in left_out} for result in results]
    return sorted(found, key=lambda each: str(each["unique_id"]))


@pytest.mark.long
def test_a_build_that_fails_and_warns_reads_the_same(real: RealRuns, fake: Dbt, fake_native_venv: FakeVenv) -> None:
    expected = real("build")
    fake_native_venv.script("build", nodes=outcomes(expected.artifacts["run_results.json"]))

    answer = fake.run("build")

    # dbt 2 runs nodes at once, whatever number of threads the profile allows.
    assert sorted(lines(answer.stdout)) == sorted(lines(expected.answer.stdout))
    assert lines(answer.stderr) == lines(expected.answer.stderr)
    assert answer.exit_code == expected.answer.exit_code == 1
    ours, theirs = (each["run_results.json"] for each in (artifacts_of(fake), expected.artifacts))
    assert essence(ours["results"]) == essence(theirs["results"])
    assert ours["args"] == theirs["args"]
    assert ours["metadata"].keys() == theirs["metadata"].keys()
    assert ours["metadata"]["dbt_version"] == theirs["metadata"]["dbt_version"] == "2.0.0-alpha.4"


@pytest.mark.parametrize(
    "words",
    [
        "run -s orders totals piers_copy",
        "run -s nope",
        "run -s orders nope",
        "run -s orders,nope",
        "run -s tag:nightly",
        "run --exclude *",
        "run -q -s orders",
        "run -q -s nope",
        "--log-level warn run -s orders",
        "--log-level error run -s nope",
        "seed",
        "seed -s orders",
        "snapshot -s piers",
        "compile -s orders totals",
        "compile --write-catalog -s orders totals",
        "parse",
        "parse -t dev",
        "ls -s orders totals",
        "ls -s orders -q --output name",
        "ls -s orders -q --output path",
        "ls -s orders --output json --output-keys unique_id resource_type fqn",
        "ls -q -s orders --output json --output-keys unique_id name --resource-type model seed",
        "ls -s nope",
        "ls -q -s nope --output json",
        "--log-level warn ls -s orders",
        "deps",
        "clean",
        "docs generate",
        "docs",
        "source freshness",
        "run --project-dir nowhere",
        "run --profiles-dir nowhere",
        "run -s orders --no-write-json",
        "--version",
        "-V",
        "fly",
        "source",
        "run --threads many",
    ],
)
def test_what_needs_no_script_reads_the_same(words: str, real: RealRuns, fake: Dbt) -> None:
    arguments = words.split()
    expected, answer = real(*arguments), fake.run(*arguments)

    assert sorted(lines(answer.stdout)) == sorted(lines(expected.answer.stdout))
    told = [lines(each.stderr, dbt.project) for each, dbt in ((answer, fake), (expected.answer, real.dbt))]
    if answer.stderr.startswith("error:"):  # tips are left out
        told = [each[:1] for each in told]
    assert told[0] == told[1]
    assert answer.exit_code == expected.answer.exit_code
    results = [
        essence(each["run_results.json"]["results"]) if "run_results.json" in each else None
        for each in (artifacts_of(fake), expected.artifacts)
    ]
    if arguments[0] in ("run", "seed", "snapshot"):
        assert results[0] == results[1]
    assert ("manifest.json" in artifacts_of(fake)) == ("manifest.json" in expected.artifacts)
    assert ("catalog.json" in artifacts_of(fake)) == ("catalog.json" in expected.artifacts)


def test_outside_of_a_project_it_says_so_alone(real: RealRuns, fake: Dbt, tmp_path: Path) -> None:
    nowhere = [Dbt(each.executable, tmp_path, each.libraries).run("run") for each in (real.dbt, fake)]

    assert nowhere[0] == nowhere[1]
    assert nowhere[0].exit_code == 1


@pytest.mark.parametrize(
    ("variable", "value"), [("DBT_QUIET", "1"), ("DBT_LOG_FORMAT", "xml"), ("DBT_TARGET_PATH", "t")]
)
def test_dbts_variables_count(variable: str, value: str, real: RealRuns, fake: Dbt) -> None:
    expected, answer = (dbt.run("run", "-s", "orders", variables={variable: value}) for dbt in (real.dbt, fake))

    assert lines(answer.stdout) == lines(expected.stdout)
    assert lines(answer.stderr)[:1] == lines(expected.stderr)[:1]
    assert answer.exit_code == expected.exit_code
    assert (fake.project / "t").exists() == (real.dbt.project / "t").exists() == (value == "t")
    shutil.rmtree(real.dbt.project / "t", ignore_errors=True)


def test_exit_code_1_fails_the_node_and_skips_what_lies_below(fake: Dbt, fake_native_venv: FakeVenv) -> None:
    fake_native_venv.script("run", exit_code=1)

    answer = fake.run("run", "-s", "broken", "below")

    assert answer.exit_code == 1
    assert "Summary: 2 total | 1 error | 1 skipped" in answer.stdout


def test_exit_code_2_is_an_error_before_anything_ran_and_ends_with_1(fake: Dbt, fake_native_venv: FakeVenv) -> None:
    fake_native_venv.script("run", exit_code=2)

    answer = fake.run("run")

    assert answer.exit_code == 1
    assert "Finished 'run' with 1 error for target 'dev'" in answer.stdout
    assert "run_results.json" not in artifacts_of(fake)


@pytest.mark.parametrize(
    "words",
    [
        "run -s orders",
        "run -s nope",
        "seed",
        "snapshot -s history",
        "ls -s orders --output name --quiet",
        "parse",
        "deps",
        "--log-level warn run -s nope",
        "source freshness",
        "docs generate",
        "clean",
    ],
)
def test_a_json_log_has_the_same_events_with_the_same_keys(words: str, real: RealRuns, fake: Dbt) -> None:
    arguments = ("--log-format", "json", *words.split())
    if "snapshot" in words:
        real.dbt.run("seed")

    check_events(fake.run(*arguments), real(*arguments).answer)


@pytest.mark.long
def test_a_json_log_of_a_build_that_fails_has_the_same_events(
    real: RealRuns, fake: Dbt, fake_native_venv: FakeVenv
) -> None:
    fake_native_venv.script("build", nodes=outcomes(real("build").artifacts["run_results.json"]))
    arguments = ("--log-format", "json", "build", "--exclude", "tag:nothing")

    expected, answer = real(*arguments).answer, fake.run(*arguments)

    # Nodes run at once, so the order is compared of each node apart.
    for unique_id in ("model.shop.broken", "model.shop.below", *(real_tests(real))):
        ours, theirs = ([each for each in events(one) if told_of(each) == unique_id] for one in (answer, expected))
        assert_equal_events(ours, theirs)


def real_tests(real: RealRuns) -> list[str]:
    results = real("build").artifacts["run_results.json"]["results"]
    return [each["unique_id"] for each in results if each["unique_id"].startswith("test.")]


def told_of(event: dict[str, Any]) -> str | None:
    found: str | None = event["data"].get("unique_id") or event["data"].get("node_info", {}).get("unique_id")
    return found


def events(answer: Answer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.stdout.splitlines()]


def check_events(answer: Answer, expected: Answer) -> None:
    assert answer.exit_code == expected.exit_code
    assert_equal_events(events(answer), events(expected))


def assert_equal_events(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert [each["info"]["name"] for each in ours] == [each["info"]["name"] for each in theirs]
    for our, their in zip(ours, theirs, strict=True):
        name = our["info"]["name"]
        assert our["info"].keys() == their["info"].keys(), name
        assert our["data"].keys() == their["data"].keys(), name
        for key in ("code", "level", "thread", "category"):
            assert our["info"][key] == their["info"][key], (name, key)
        if name != "MainReportArgs":
            assert lines(our["info"]["msg"]) == lines(their["info"]["msg"]), name
        for key in ("status", "num_failures", "args"):
            if isinstance(our["data"].get(key), (str, int)):
                assert our["data"][key] == their["data"][key], name
        if len(their["data"].get("node_info", {})) > 1:
            our_info, their_info = our["data"]["node_info"], their["data"]["node_info"]
            assert our_info.keys() == their_info.keys(), name
            for key in ("node_status", "node_relation", "materialized", "unique_id", "resource_type", "node_name"):
                assert our_info[key] == their_info[key], (name, key)


def test_the_manifest_has_the_keys_of_the_real_one(real: RealRuns, fake: Dbt) -> None:
    expected = real("parse").artifacts["manifest.json"]

    fake.run("parse")

    manifest = artifacts_of(fake)["manifest.json"]
    assert manifest.keys() == expected.keys()
    assert manifest["metadata"].keys() <= expected["metadata"].keys()
    for key in ("dbt_schema_version", "dbt_version", "project_name", "adapter_type"):
        assert manifest["metadata"][key] == expected["metadata"][key]
    for unique_id, node in manifest["nodes"].items():
        real_node = expected["nodes"][unique_id]
        assert node.keys() <= real_node.keys()
        for key in ("fqn", "resource_type", "original_file_path", "path", "package_name", "alias", "language"):
            assert node.get(key) == real_node.get(key), (unique_id, key)
        assert node["relation_name"] == real_node["relation_name"]
        assert node["depends_on"]["nodes"] == real_node["depends_on"]["nodes"]
        assert node["config"].get("materialized") == real_node["config"].get("materialized"), unique_id
    assert not (fake.target / "partial_parse.msgpack").exists()


def test_ls_lists_the_same_files(real: RealRuns, fake: Dbt) -> None:
    arguments = "ls -q --output json --resource-type model snapshot seed".split()

    ours, theirs = (
        {each["unique_id"]: each for each in map(json.loads, answer.stdout.splitlines())}
        for answer in (fake.run(*arguments), real(*arguments).answer)
    )

    assert ours.keys() == theirs.keys()
    for unique_id, node in ours.items():
        assert list(node) == list(theirs[unique_id])
        for key in ("name", "alias", "resource_type", "package_name", "original_file_path"):
            assert node[key] == theirs[unique_id][key]
        assert node["depends_on"]["nodes"] == theirs[unique_id]["depends_on"]["nodes"]
        assert node["config"]["materialized"] == theirs[unique_id]["config"]["materialized"]
        assert node["config"]["tags"] == theirs[unique_id]["config"]["tags"]


@pytest.mark.long
def test_packages_are_installed_without_being_asked_for(real: RealRuns, fake: Dbt, tmp_path: Path) -> None:
    said = []
    for name, each in (("real", real.dbt), ("fake", fake)):
        dbt = Dbt(each.executable, write_project(tmp_path / name / "shop"), each.libraries)
        shutil.copy(each.project / "profiles.yml", dbt.project)
        for package in (tmp_path / name / "shared", dbt.project / "inner"):
            package.mkdir()
            (package / "dbt_project.yml").write_text(f"name: {package.name}\n")
        (dbt.project / "packages.yml").write_text("packages:\n  - local: ../shared\n  - local: inner\n")

        answers = [dbt.run(*words.split()) for words in ("run -s orders", "deps", "run -s orders")]
        installed = {link.name: str(link.readlink()) for link in (dbt.project / "dbt_packages").iterdir()}
        (tmp_path / name / "shared" / "dbt_project.yml").unlink()
        answers.append(dbt.run("deps"))
        errors = [answer.stderr.replace(str(tmp_path / name), "") for answer in answers]
        told = [sorted(lines(answer.stdout)) for answer in answers]
        said.append((told, errors, installed, [answer.exit_code for answer in answers]))

    assert said[1] == said[0]
    assert said[0][-1] == [0, 0, 0, 1]


@pytest.mark.parametrize("status", ["partial success", "no-op"])
def test_a_status_that_dbt_2_does_not_have_is_refused(status: str, fake: Dbt, fake_native_venv: FakeVenv) -> None:
    fake_native_venv.script("run", nodes={"orders": status})

    answer = fake.run("run")

    assert answer.exit_code == 2
    assert "in dbt 2 a model does not end so; give one of error, skipped, success." in answer.stderr
    fake_native_venv.forget()
    shutil.rmtree(fake_native_venv.folder)


class Running:
    """A dbt in the middle of a model."""

    def __init__(self, dbt: Dbt) -> None:
        self.dbt = dbt
        (dbt.project / "models" / "slow.sql").write_text(SLOW_SQL)
        shutil.rmtree(dbt.target, ignore_errors=True)
        self.process = dbt.start("run", "-s", "slow")

    @property
    def processor_time(self) -> float:
        return float(psutil.Process(self.process.pid).cpu_times().user)

    def end(self, number: int) -> Answer:
        self.process.send_signal(number)
        stdout, stderr = self.process.communicate(timeout=DEADLINE)
        return Answer(self.process.returncode, stdout, stderr)


@pytest.fixture
def running(real: RealRuns, fake: Dbt, fake_native_venv: FakeVenv) -> Iterator[list[Running]]:
    """The real one and the fake one, each in the middle of a model; what a failing test leaves running is ended."""
    fake_native_venv.script("run", hold=True)
    both = [Running(real.dbt), Running(fake)]
    try:
        fake_native_venv.wait_for_call("run", held=True)
        end = time.monotonic() + DEADLINE
        while both[0].processor_time < 0.5 + BUSY:
            assert time.monotonic() < end
            time.sleep(0.01)
        yield both
    finally:
        for each in both:
            each.process.kill()
            each.process.communicate()
            (each.dbt.project / "models" / "slow.sql").unlink()


@pytest.mark.long
def test_sigint_cancels_sql_and_leaves_every_node_as_an_error(running: list[Running]) -> None:
    theirs, ours = (each.end(signal.SIGINT) for each in running)

    assert ours.exit_code == theirs.exit_code == 1
    assert lines(ours.stdout) == lines(theirs.stdout)
    codes = [re.findall(r"^\[error\] \[(.*?)\]", each.stderr, re.MULTILINE) for each in (ours, theirs)]
    assert codes[0] == codes[1] == ["TaskCancelled (dbt1404)", "OperationCanceled (dbt8995)"]
    results = [essence(artifacts_of(each.dbt)["run_results.json"]["results"]) for each in running]
    assert results[0] == results[1]
    assert results[0][0]["message"] == "Compilation Error"


@pytest.mark.long
def test_sigterm_kills_at_once_and_leaves_no_artifacts(running: list[Running]) -> None:
    theirs, ours = (each.end(signal.SIGTERM) for each in running)

    assert ours == theirs
    assert ours.exit_code == -signal.SIGTERM
    assert [artifacts_of(each.dbt) for each in running] == [{}, {}]
