"""The ready-made scenarios of what becomes of seeds in a DAG: the four behaviors, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_cosmos_venv.seeds.project import MODEL
from pytest_cosmos_venv.seeds.seed_story import Chapter
from pytest_cosmos_venv.seeds.sentences import ALWAYS, BUILD, DEFAULT, MODES, NONE, RENDER_ONLY, WATCHER

if TYPE_CHECKING:
    from pytest_cosmos_venv.seeds.scenario import SeedScenario

OTHER_MODES = (
    *("watcher", "watcher_kubernetes", "watcher_gcp_gke", "docker", "kubernetes", "aws_eks", "aws_ecs"),
    *("azure_container_instance", "gcp_cloud_run_job", "gcp_gke"),
)

_CHAPTER = Chapter()
STORIES = _CHAPTER.stories


@_CHAPTER.story(DEFAULT)
def the_default_runs_each_time(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.run().must("ran")


@_CHAPTER.story(ALWAYS, behavior="always")
def always_runs_each_time(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.run().must("ran")


@_CHAPTER.story(ALWAYS, behavior="always", places=("port/north",))
def always_runs_each_time_in_a_group(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.run().must("ran")


@_CHAPTER.story(BUILD, behavior="always", test_behavior="build")
def always_runs_each_time_under_build(harbor: SeedScenario) -> None:
    harbor.run().must("ran").must_call("build")
    harbor.run().must("ran").must_call("build")


@_CHAPTER.story(RENDER_ONLY, behavior="always")
def render_only_leaves_an_empty_operator(harbor: SeedScenario) -> None:
    before = harbor.build()
    harbor.change(behavior="render_only")

    after = harbor.build().must("empty")
    harbor.require(after.edges == before.edges, "the edges are those of always", f"{set(after.edges ^ before.edges)}")
    harbor.run().must("empty").must_call("run")


@_CHAPTER.story(RENDER_ONLY, behavior="render_only", places=("port/north",), load="dbt_ls", model=None)
def render_only_leaves_an_empty_operator_in_a_group(harbor: SeedScenario) -> None:
    harbor.run().must("empty")


@_CHAPTER.story(NONE, behavior="always", test_behavior="after_each")
def none_leaves_no_task(harbor: SeedScenario) -> None:
    before = harbor.build()
    harbor.change(behavior="none")

    after = harbor.build().must("absent")
    traces = [task_id for task_id in after.dag.task_ids if "piers" in task_id]
    harbor.require(not traces, "neither the seed nor its test has a task", str(traces))
    kept = {edge for edge in before.edges if "piers" not in "".join(edge)}
    harbor.require(after.edges == kept, "the other edges are those of always", f"{set(after.edges ^ kept)}")
    harbor.run().must("absent").must_call("run")


@_CHAPTER.story(NONE, behavior="none", places=("port/north",), load="dbt_ls")
def none_leaves_no_task_in_a_group(harbor: SeedScenario) -> None:
    harbor.run().must("absent").must_call("run")


@_CHAPTER.story(BUILD, behavior="when_seed_changes", test_behavior="build")
def refused_with_test_behavior_build(harbor: SeedScenario) -> None:
    harbor.must_be_refused("when_seed_changes", "build")


@_CHAPTER.story(BUILD, behavior="when_seed_changes", test_behavior="build", places=("port/north",))
def refused_with_test_behavior_build_in_a_group(harbor: SeedScenario) -> None:
    harbor.must_be_refused("when_seed_changes", "build")


@_CHAPTER.story(MODES, behavior="when_seed_changes", execution_mode="docker", places=("port/north",))
def refused_in_a_group(harbor: SeedScenario) -> None:
    harbor.must_be_refused("when_seed_changes", "docker")


def _refused_in_its_mode(harbor: SeedScenario) -> None:
    harbor.must_be_refused("when_seed_changes", harbor.setup.execution_mode)


def _accepted_in_its_mode(harbor: SeedScenario) -> None:
    harbor.must_be_accepted()


def _rendered_by_watcher(harbor: SeedScenario) -> None:
    """Built and not run: what the watcher's one dbt build loads, no test here can show."""
    form = {"always": "task", "render_only": "empty", "none": "absent"}
    rendering = harbor.build().must(form[str(harbor.setup.behavior)])  # type: ignore[arg-type]
    models = [task_id for task_id in rendering.dag.task_ids if MODEL in task_id]
    harbor.require(bool(models), f"the model {MODEL} is rendered", str(rendering.dag.task_ids))


for _mode in OTHER_MODES:
    _CHAPTER.add(f"refused-in-{_mode}", MODES, _refused_in_its_mode, behavior="when_seed_changes", execution_mode=_mode)
for _mode in ("local", "virtualenv", "airflow_async"):
    _CHAPTER.add(
        f"accepted-in-{_mode}", MODES, _accepted_in_its_mode, behavior="when_seed_changes", execution_mode=_mode
    )
for _behavior in ("always", "render_only", "none"):
    _name = f"watcher-renders-{_behavior.replace('_', '-')}"
    _CHAPTER.add(_name, WATCHER, _rendered_by_watcher, behavior=_behavior, execution_mode="watcher")
