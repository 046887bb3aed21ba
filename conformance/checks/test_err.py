"""ERR: bad input is named, as early as it can be known, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ..adapter import Outcome, Shape
from ..harness.sample_project import MODELS, Harbor, tasks_of
from ..requirements import case, requirement

LOCK = "cosmos_virtualenv.lock"
BAD_REQUIREMENT = "dbt-core=>1.10"
NO_CONNECTION = "nobodys_connection"


def _listing(harbor: Harbor) -> set[str]:
    """The paths in the test's folder, without the files that the installed fake dbt writes."""
    folder = harbor.harness.folder
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "wheelhouse" not in str(path)}


def _require_error(harbor: Harbor, what: str, act: Callable[[], Shape | Outcome], *words: str) -> None:
    """Building the DAG, or running the task, must fail with these words, and leave nothing outside its environment."""
    __tracebackhide__ = True
    before, own = _listing(harbor), harbor.harness.virtualenv_dir.name

    seen = act()

    assert seen.exception is not None, f"{what} must be an error; seen: {seen}"
    for word in words:
        assert word in seen.exception, f"{what} must be an error that names {word}; seen: {seen}"
    more = {name for name in _listing(harbor) - before if not name.startswith(own) or name.endswith(LOCK)}
    assert not more, f"{what} must leave nothing behind; seen: {sorted(more)}; {seen}"


@requirement("ERR-001")
@pytest.mark.parametrize("load", ["dbt_manifest", "automatic"])
def test_a_project_that_does_not_exist(harbor: Harbor, load: str) -> None:
    missing = str(harbor.harness.folder / "no-such-project")

    render = partial(harbor.render, load=load, project={"dbt_project_path": missing})
    _require_error(harbor, "A project that does not exist", render, missing)


def _without_nodes(text: str) -> str:
    return json.dumps({name: value for name, value in json.loads(text).items() if name != "nodes"})


@pytest.mark.parametrize(
    ("what", "change"),
    [
        case("ERR-002", "A manifest that is no JSON", lambda _: "<html><body>Please log in.</body></html>\n"),
        case("ERR-003", "A manifest that is cut off", lambda text: text[: len(text) // 2]),
        case("ERR-004", "A manifest without nodes", _without_nodes),
    ],
)
def test_a_manifest_that_is_none(harbor: Harbor, what: str, change: Callable[[str], str]) -> None:
    harbor.manifest.write_text(change(harbor.manifest.read_text(encoding="utf-8")), encoding="utf-8")

    _require_error(harbor, what, harbor.render, harbor.manifest.name)


@requirement("ERR-008")
def test_an_old_manifest_is_read_whole_or_refused(harbor: Harbor) -> None:
    document = json.loads(harbor.manifest.read_text(encoding="utf-8"))
    document["metadata"]["dbt_schema_version"] = "https://schemas.getdbt.com/dbt/manifest/v8.json"
    harbor.manifest.write_text(json.dumps(document), encoding="utf-8")

    seen = harbor.render()

    if seen.exception is None:
        assert all(tasks_of(seen, model) for model in MODELS), f"An old manifest must be read whole; seen: {seen}"
    else:
        assert harbor.manifest.name in seen.exception, f"The error must name the manifest; seen: {seen}"
        assert "v8" in seen.exception, f"The error must name the schema that it found, v8; seen: {seen}"


def _require_told(error: Mapping[str, Any] | None, what: str, *words: str) -> None:
    """Fail if there is an error that does not say, with one of these words, which argument is missing."""
    __tracebackhide__ = True
    if error is None:
        return
    said = f"{what} must build, or raise a CosmosValueError or Python's TypeError that names {' or '.join(words)}"
    # Airflow 2 looks for missing arguments of an operator itself, and raises this in the place of Python's TypeError.
    is_airflows = error["kinds"][0] == "AirflowException" and "missing keyword argument" in error["text"]
    assert {"CosmosValueError", "TypeError"} & set(error["kinds"]) or is_airflows, f"{said}; seen: {error}"
    assert any(word in error["text"] for word in words), f"{said}; seen: {error}"


@requirement("ERR-009")
@pytest.mark.parametrize("example", ["operator", "dag-with-a-bare-profile", "dag-without-a-profile"])
def test_an_example_without_a_profile(harbor: Harbor, example: str) -> None:
    harness = harbor.harness
    project = {"manifest_path": str(harbor.manifest)}
    bare = {"profile_name": "jaffle_shop", "target_name": "dev"}

    if example == "operator":
        error = harness.error_of(harness.task(profile={}))
    else:
        plan = harness.dag_plan(harbor.project.path, project=project)
        profile = bare if example == "dag-with-a-bare-profile" else {}
        error = harness.error_of(replace(plan, profile=profile))

    _require_told(error, f"The example ({example})", "profile_config", "profile_mapping", "profiles_yml_filepath")


@requirement("ERR-010")
def test_a_group_with_a_render_config_alone(harbor: Harbor) -> None:
    harness = harbor.harness
    plan = harness.dag_plan(harbor.project.path, project={"manifest_path": str(harbor.manifest)}, groups=("port",))
    named = replace(plan, execution={}, operator_args={})

    error = harness.error_of(replace(named, project={}, profile={}))
    seen = harness.render(named)

    what = "DbtTaskGroup(render_config=...) with nothing else"
    _require_told(error, what, "project_config", "profile_config")
    assert seen.exception is None, f"DbtTaskGroup with project, profile and render_config must build; seen: {seen}"


@requirement("ERR-005")
def test_a_connection_that_does_not_exist(harbor: Harbor) -> None:
    task = harbor.harness.kept_task(profile=harbor.harness.mapped_profile(NO_CONNECTION), under_airflow=True)

    _require_error(harbor, "A connection that does not exist", lambda: harbor.harness.run(task), NO_CONNECTION)


@requirement("ERR-006")
def test_a_requirement_that_is_none(harbor: Harbor) -> None:
    task = harbor.harness.kept_task(py_requirements=[BAD_REQUIREMENT])

    _require_error(harbor, "A requirement that is none", lambda: harbor.harness.run(task), BAD_REQUIREMENT)


@requirement("ERR-007")
def test_a_virtualenv_dir_that_is_a_file(harbor: Harbor) -> None:
    place: Path = harbor.harness.virtualenv_dir
    place.write_text("somebody's\n", encoding="utf-8")

    run = partial(harbor.harness.run, harbor.harness.kept_task())
    _require_error(harbor, "A virtualenv_dir that is a file", run, str(place))

    assert place.is_file() and place.read_text(encoding="utf-8") == "somebody's\n", (  # noqa: PT018 - one thing
        f"A file where virtualenv_dir should be must be left alone; seen: {place} is changed"
    )
