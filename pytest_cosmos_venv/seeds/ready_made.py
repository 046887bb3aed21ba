"""All ready-made scenarios: every sentence of Cosmos's page "Managing seeds", chapter by chapter.

This module has the chapter of memory (how Variables store checksums, and what happens when they are lost or damaged)
and the chapter of rendering (the four behaviors, and the refused combinations). The chapter of changes is
``scenarios_of_changes``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_cosmos_venv.seeds import scenarios_of_changes
from pytest_cosmos_venv.seeds.project import MODEL
from pytest_cosmos_venv.seeds.scenario_model import (
    ALWAYS,
    BEST_EFFORT,
    BUILD,
    DEFAULT,
    MODES,
    NONE,
    RENDER_ONLY,
    SCOPED,
    SHA256,
    VARIABLE,
    WATCHER,
    Chapter,
    SeedStory,
)

if TYPE_CHECKING:
    from pytest_cosmos_venv.seeds.scenario import SeedScenario


BROKEN_TEXTS = ("", "junk")
BROKEN_JSON = ("null", "[]", '{"checksum": null}', '{"algorithm": "sha256"}')

_MEMORY = Chapter(behavior="when_seed_changes", model=None)
MEMORY_SCENARIOS = _MEMORY.scenarios


@_MEMORY.scenario(VARIABLE)
def _a_run_sets_a_variable(harbor: SeedScenario) -> None:
    harbor.run().must("ran", stored=True)
    harbor.forget()
    harbor.run().must("ran", stored=True)


@_MEMORY.scenario(SHA256)
def _the_checksum_is_sha256(harbor: SeedScenario) -> None:
    checksum = harbor.digest()
    harbor.run().must("ran").must_store_checksum(checksum, meaning="the SHA-256 of the file")


@_MEMORY.scenario(VARIABLE)
def _another_checksum_than_the_remembered_one_is_a_change(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.remember("0" * 64)
    harbor.run().must("ran")
    harbor.run().must("skipped")


@_MEMORY.scenario(SHA256)
def _the_remembered_sha256_is_recognised(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.edit()
    harbor.remember(harbor.digest())
    harbor.run().must("skipped")


@_MEMORY.scenario(BEST_EFFORT)
def _a_corrupt_variable_runs_dbt(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.corrupt_variable()
    harbor.run().must("ran")
    for text in BROKEN_TEXTS:
        harbor.corrupt_variable(text)
        harbor.run().must("ran")
    harbor.run().must("skipped")


@_MEMORY.scenario(BEST_EFFORT)
def _json_of_another_shape_runs_dbt(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    for text in BROKEN_JSON:
        harbor.corrupt_variable(text)
        harbor.run().must("ran")
    harbor.run().must("skipped")


@_MEMORY.scenario(BEST_EFFORT)
def _a_variable_that_cannot_be_read_runs_dbt(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    for denied in (False, True):  # from Airflow 3.2 on, a failed read raises in the task only when access is denied
        with harbor.variables_down(writing=False, denied=denied):
            harbor.run().must("ran")
    harbor.run().must("skipped")


@_MEMORY.scenario(BEST_EFFORT, level="should")
def _a_variable_that_cannot_be_written_fails_nothing(harbor: SeedScenario) -> None:
    with harbor.variables_down(reading=False):
        harbor.run().must("ran", stored=False)
    harbor.run().must("ran", stored=True)


@_MEMORY.scenario(BEST_EFFORT)
def _variables_that_are_down_run_dbt(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    with harbor.variables_down():
        harbor.run().must("ran", stored=False)
    harbor.run().must("skipped")


@_MEMORY.scenario(SCOPED, places=("harbor", "port"))
def _two_dags_remember_apart(harbor: SeedScenario) -> None:
    harbor.run("harbor").must("ran")
    harbor.run("port").must("ran")
    harbor.edit()
    harbor.run("harbor").must("ran")
    harbor.run("port").must("ran")


@_MEMORY.scenario(SCOPED, places=("port/north", "port/south"))
def _two_groups_of_a_dag_remember_apart(harbor: SeedScenario) -> None:
    harbor.run().must("ran", place="port/north").must("ran", place="port/south")
    harbor.run().must("skipped", place="port/north").must("skipped", place="port/south")


def _two_that_remember_apart(harbor: SeedScenario) -> None:
    first, second = harbor.setup.places
    harbor.run(first.dag_id).must("ran", place=str(first))
    harbor.run(second.dag_id).must("ran", place=str(second))
    harbor.run(first.dag_id).must("skipped", place=str(first))


for _name, _places in {
    "equal-groups-of-two-dags-remember-apart": ("east/harbor", "west/harbor"),
    "a-dag-and-a-group-of-its-name-remember-apart": ("harbor", "port/harbor"),
    "a-group-and-one-of-another-dag-within-a-group-remember-apart": ("east/harbor", "west/port/harbor"),
}.items():
    _MEMORY.add(_name, SCOPED, _two_that_remember_apart, places=_places)
for _name, _places in {
    "ids-that-join-to-the-same-text-remember-apart": ("x/y__z", "x__y/z"),
    "a-dag-whose-id-looks-like-a-group-remembers-apart": ("x__y", "x/y"),
}.items():
    _MEMORY.add(_name, SCOPED, _two_that_remember_apart, level="should", places=_places)


@_MEMORY.scenario(SCOPED)
def _another_dag_starts_afresh(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.change(places=["port"])
    harbor.run().must("ran")


OTHER_MODES = (
    "watcher",
    "watcher_kubernetes",
    "watcher_gcp_gke",
    "docker",
    "kubernetes",
    "aws_eks",
    "aws_ecs",
    "azure_container_instance",
    "gcp_cloud_run_job",
    "gcp_gke",
)

_RENDERING = Chapter()
RENDERING_SCENARIOS = _RENDERING.scenarios


@_RENDERING.scenario(DEFAULT)
def _the_default_runs_each_time(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.run().must("ran")


@_RENDERING.scenario(ALWAYS, behavior="always")
def _always_runs_each_time(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.run().must("ran")


@_RENDERING.scenario(ALWAYS, behavior="always", places=("port/north",))
def _always_runs_each_time_in_a_group(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.run().must("ran")


@_RENDERING.scenario(BUILD, behavior="always", test_behavior="build")
def _always_runs_each_time_under_build(harbor: SeedScenario) -> None:
    harbor.run().must("ran").must_call("build")
    harbor.run().must("ran").must_call("build")


@_RENDERING.scenario(RENDER_ONLY, behavior="always")
def _render_only_leaves_an_empty_operator(harbor: SeedScenario) -> None:
    before = harbor.build()
    harbor.change(behavior="render_only")

    after = harbor.build().must("empty")
    harbor.require(after.edges == before.edges, "the edges are those of always", f"{set(after.edges ^ before.edges)}")
    harbor.run().must("empty").must_call("run")


@_RENDERING.scenario(RENDER_ONLY, behavior="render_only", places=("port/north",), load="dbt_ls", model=None)
def _render_only_leaves_an_empty_operator_in_a_group(harbor: SeedScenario) -> None:
    harbor.run().must("empty")


@_RENDERING.scenario(NONE, behavior="always", test_behavior="after_each")
def _none_leaves_no_task(harbor: SeedScenario) -> None:
    before = harbor.build()
    harbor.change(behavior="none")

    after = harbor.build().must("absent")
    traces = [task_id for task_id in after.dag.task_ids if "piers" in task_id]
    harbor.require(not traces, "neither the seed nor its test has a task", str(traces))
    kept = {edge for edge in before.edges if "piers" not in "".join(edge)}
    harbor.require(after.edges == kept, "the other edges are those of always", f"{set(after.edges ^ kept)}")
    harbor.run().must("absent").must_call("run")


@_RENDERING.scenario(NONE, behavior="none", places=("port/north",), load="dbt_ls")
def _none_leaves_no_task_in_a_group(harbor: SeedScenario) -> None:
    harbor.run().must("absent").must_call("run")


@_RENDERING.scenario(BUILD, behavior="when_seed_changes", test_behavior="build")
def _refused_with_test_behavior_build(harbor: SeedScenario) -> None:
    harbor.must_be_refused("when_seed_changes", "build")


@_RENDERING.scenario(BUILD, behavior="when_seed_changes", test_behavior="build", places=("port/north",))
def _refused_with_test_behavior_build_in_a_group(harbor: SeedScenario) -> None:
    harbor.must_be_refused("when_seed_changes", "build")


@_RENDERING.scenario(MODES, behavior="when_seed_changes", execution_mode="docker", places=("port/north",))
def _refused_in_a_group(harbor: SeedScenario) -> None:
    harbor.must_be_refused("when_seed_changes", "docker")


def _refused_in_its_mode(harbor: SeedScenario) -> None:
    harbor.must_be_refused("when_seed_changes", harbor.setup.execution_mode)


def _accepted_in_its_mode(harbor: SeedScenario) -> None:
    harbor.must_be_accepted()


def _rendered_by_watcher(harbor: SeedScenario) -> None:
    """Build the DAG without running it: the fake dbt cannot show which seeds the watcher's single dbt build loads."""
    form = {"always": "task", "render_only": "empty", "none": "absent"}
    rendering = harbor.build().must(form[str(harbor.setup.behavior)])  # type: ignore[arg-type]
    models = [task_id for task_id in rendering.dag.task_ids if MODEL in task_id]
    harbor.require(bool(models), f"the model {MODEL} is rendered", str(rendering.dag.task_ids))


for _mode in OTHER_MODES:
    _RENDERING.add(
        f"refused-in-{_mode}", MODES, _refused_in_its_mode, behavior="when_seed_changes", execution_mode=_mode
    )
for _mode in ("local", "virtualenv", "airflow_async"):
    _RENDERING.add(
        f"accepted-in-{_mode}", MODES, _accepted_in_its_mode, behavior="when_seed_changes", execution_mode=_mode
    )
for _behavior in ("always", "render_only", "none"):
    _name = f"watcher-renders-{_behavior.replace('_', '-')}"
    _RENDERING.add(_name, WATCHER, _rendered_by_watcher, behavior=_behavior, execution_mode="watcher")


SEED_SCENARIOS: tuple[SeedStory, ...] = (
    *RENDERING_SCENARIOS,
    *scenarios_of_changes.CHANGE_SCENARIOS,
    *MEMORY_SCENARIOS,
)
"""All ready-made scenarios, for ``@pytest.mark.parametrize("scenario", SEED_SCENARIOS, ids=str)`` and ``.play``."""
