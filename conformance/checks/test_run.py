"""RUN: what runs of a project try again, leave behind and tell, which version they see, and which DAG runs first."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import CosmosProject, NodeOutcome

from ..adapter import COMMANDS
from ..harness.harness import Harness
from ..harness.sample_project import MODELS, PARENTS, Harbor, comes_before, harbor_of, tasks_of
from ..requirements import case, needing, requirement

LASTING = {
    "uncompiled": "Compilation Error in model uncompiled (models/uncompiled.sql)\n  'nowhere' is undefined",
    "broken": "Compilation Error in model broken (models/broken.sql)\n  It has an enforced contract that failed.",
    "refused": "Runtime Error in model refused (models/refused.sql)\n  Catalog Error: Table with name x does not exist",
}
"""Model -> a message of dbt on a failure that each try repeats: of dbt, and of DuckDB."""
PASSING = {
    "cut": "Database Error in model cut (models/cut.sql)\n  server closed the connection unexpectedly",
    "odd": "Runtime Error in model odd (models/odd.sql)\n  something that nobody has seen before",
}
"""Model -> a message on a failure that another try may not have."""
RETRIES = 2
ONLY_WAREHOUSE = {"retry_on": "warehouse"}
LAST = "ledger.bin"
"""The last file of an archive."""
OWNERS = {"arrivals": "quay", "berths": "quay", "piers": "buoy", "moles": "mole", "crossings": "tower"}
"""Model -> its owner; the tower's reads the first one."""
PORT = {
    "staging/arrivals": "select 1 as id",
    "staging/berths": "select 1 as id",
    "finance/crossings": "select id from {{ ref('arrivals') }} join {{ ref('berths') }} using (id)",
    "marts/departures": "select * from {{ ref('crossings') }}",
}
"""Path of a model -> its SQL, which reads what ``PARENTS`` says."""


@pytest.mark.parametrize(
    ("kind", "messages", "tries"),
    [case("RUN-001", "lasting", LASTING, 1), case("RUN-002", "passing", PASSING, 1 + RETRIES)],
)
def test_models_are_tried_again_where_that_may_help(
    harness: Harness, cosmos_project: CosmosProject, kind: str, messages: dict[str, str], tries: int
) -> None:
    project = cosmos_project("quays")
    for name in messages:
        project.model(name, "select 1 as id")
    failures = {name: NodeOutcome(status="error", message=message) for name, message in messages.items()}
    harness.wheelhouse.script("run", nodes=failures)

    outcome = harness.run(harbor_of(harness, project).whole_dag(retries=RETRIES, operator_args=ONLY_WAREHOUSE))

    seen = {name: sum(name in node for call in harness.calls("run") for node in call.nodes) for name in messages}
    assert seen == dict.fromkeys(messages, tries), (
        f"with {RETRIES} retries for failures of the warehouse alone, each model with a {kind} failure must be tried "
        f"{tries} times; seen: {seen}, {outcome}"
    )
    assert outcome.state == "failed", f"the run must fail; seen: {outcome}"


@needing(COMMANDS["test"])
@requirement("RUN-001")
def test_a_test_that_fails_is_not_tried_again(harbor: Harbor) -> None:
    harbor.harness.wheelhouse.script("test", nodes={"unique_arrivals_id": "fail"})
    render = {"test_behavior": "after_each", "select": ["arrivals"]}

    outcome = harbor.harness.run(harbor.whole_dag(retries=RETRIES, render=render, operator_args=ONLY_WAREHOUSE))

    calls = harbor.harness.calls("test")
    assert len(calls) == 1, f"a test that fails must have one try; seen: {calls}, {outcome}"
    assert outcome.state == "failed", f"the run must fail; seen: {outcome}"


@requirement("RUN-003")
def test_a_run_leaves_one_result_for_each_model(harbor: Harbor) -> None:
    harness, folder = harbor.harness, harbor.harness.folder / "results"
    harness.wheelhouse.script("run", select="arrivals", nth=1, nodes={"arrivals": "error"})
    harness.wheelhouse.script("run", select="crossings", nodes={"crossings": "error"})
    place = harness.ask("setting", name="remote_target_path", value=folder.as_uri())
    render = {"run_artifacts": True, "exclude": ["piers"]}

    outcome = harness.run(harbor.whole_dag(retries=1, render=render), variables=place)

    files = [*folder.rglob("run_results.json")]
    assert len(files) == 1, f"a run must leave one run_results.json below {folder}; seen: {files}, {outcome}"
    results = json.loads(files[0].read_text(encoding="utf-8"))["results"]
    seen = sorted((str(each["unique_id"]).rpartition(".")[2], each["status"]) for each in results)
    required = [*zip(MODELS, ("success", "success", "error", "skipped"), strict=True)]
    assert seen == required, f"the file must have the last result of each model: {required}; seen: {seen}, {outcome}"


@requirement("RUN-008")
def test_each_owner_hears_once_of_its_models_that_failed(harness: Harness, cosmos_project: CosmosProject) -> None:
    project, file = cosmos_project("harbor"), harness.folder / "told"
    for name, owner in OWNERS.items():
        sql = "select * from {{ ref('arrivals') }}" if owner == "tower" else "select 1 as id"
        project.model(name, sql, meta={"owner": owner})
    harness.wheelhouse.script("run", nodes=dict.fromkeys(("arrivals", "berths", "moles"), "error"))
    harness.wheelhouse.script("run", select="piers", nth=1, nodes={"piers": "error"})
    render = {"notify_owners": dict.fromkeys(("quay", "tower", "buoy", "*"), str(file))}

    outcome = harness.run(harbor_of(harness, project).whole_dag(retries=1, render=render))

    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    seen = [(owner, sorted(node.rpartition(".")[2] for node in nodes)) for owner, *nodes in map(json.loads, lines)]
    required = [("mole", ["moles"]), ("quay", ["arrivals", "berths"])]
    assert sorted(seen) == required, f"the messages to owners must be {required}; seen: {seen}, {outcome}"


def _archive(harbor: Harbor) -> bytes:
    """A tar archive of the project with its manifest. The last file is long, and does not shrink."""
    folder, made = harbor.project.path, io.BytesIO()
    (folder / LAST).write_bytes(os.urandom(1 << 16))
    harbor.project.manifest()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name in ("dbt_project.yml", "target/manifest.json", "models", "seeds", LAST):
            tar.add(folder / name, arcname=name)
    return made.getvalue()


def _project_at(file: Path) -> dict[str, Any]:
    return {"dbt_project_path": file.as_uri(), "manifest_path": "target/manifest.json"}


@requirement("RUN-004")
@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_a_project_that_was_cut_off_is_refused(harbor: Harbor, ending: str) -> None:
    whole, file = _archive(harbor), harbor.harness.folder / f"port.{ending}"
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        end = tar.getmember(LAST).offset
    is_packed = ending != "tar"
    # A tar archive without its last member looks whole to a reader that does not ask for its end.
    file.write_bytes(gzip.compress(whole)[:-1000] if is_packed else whole[:end])
    parts: dict[str, Any] = {"project": _project_at(file), "variables": harbor.harness.own_temporary}

    seen = [harbor.render(**parts) for _ in range(2)]
    file.write_bytes(gzip.compress(whole) if is_packed else whole)
    after = harbor.render(**parts)

    for shape in seen:
        assert file.name in (shape.exception or ""), (
            f"an archive that is cut off must be an error that names it, at each parse; seen: {shape}"
        )
    missing = [name for name in MODELS if not tasks_of(after, name)]
    assert not missing, f"once the archive is whole, each model must have a task; seen: {after}"


@requirement("RUN-005")
def test_a_run_sees_one_version_of_a_project(harbor: Harbor) -> None:
    harness, file = harbor.harness, harbor.harness.folder / "port.tar"
    file.write_bytes(_archive(harbor))
    held = harness.wheelhouse.script("run", select="crossings", hold=True)
    dag = harbor.whole_dag(project=_project_at(file), render={"exclude": ["piers"]})

    with harness.start(dag, variables=harness.own_temporary) as running:
        harness.wheelhouse.wait_for_call("run", count=3, held=True, timeout=harness.timeout)
        harbor.project.delete("departures")
        file.write_bytes(_archive(harbor))
        newer = harbor.render(project=_project_at(file), variables=harness.own_temporary)
        held.release()
        outcome = running.finish().outcomes[0]

    assert not tasks_of(newer, "departures"), f"a parse must see the newer version, without departures; seen: {newer}"
    built = sorted(node.rpartition(".")[2] for call in harness.calls("run") for node in call.nodes)
    assert built == sorted(MODELS), (
        f"each model of the version with which the run began must be built once; seen: {built}, {outcome}"
    )


@pytest.fixture
def port(harness: Harness, cosmos_project: CosmosProject) -> Harbor:
    """A project of the same models, in three folders."""
    project = cosmos_project("port")
    for name, sql in PORT.items():
        project.model(name, sql)
    return harbor_of(harness, project)


@requirement("RUN-006")
def test_a_dag_waits_for_the_models_of_other_dags(port: Harbor) -> None:
    seen = port.render(schedules={"staging": "@daily"})

    tasks = {name: tasks_of(seen, name) for name in MODELS}
    assert all(len(each) == 1 for each in tasks.values()), f"each model must have one task; seen: {seen}"
    folders = {name.split("/")[1]: name.split("/")[0] for name in PORT}
    dags = {folders[name]: seen.tasks[task].group for name, (task,) in tasks.items()}
    assert len({*dags.values()}) == len(dags), f"each folder must be a DAG of its own; seen: {dags}"
    for first, then in PARENTS:
        assert comes_before(seen, tasks[first][0], tasks[then][0]), (
            f"the DAG of {then} must wait for an asset that is given after {first}; seen: {seen}"
        )


@requirement("RUN-007")
def test_dags_that_would_wait_for_each_other_are_refused(port: Harbor) -> None:
    port.project.model("staging/pilots", "select * from {{ ref('departures') }}")
    port.project.manifest(port.manifest)

    seen = port.render(schedules={"staging": "@daily"})

    missing = [name for name in ("pilots", "departures") if name not in (seen.exception or "")]
    assert not missing, f"folders that read each other must be an error that names the models; seen: {seen}"
