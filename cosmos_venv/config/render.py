"""``RenderConfig``: the nodes that become tasks, and the way in which the project is parsed to know them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import InitVar, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

from cosmos_venv.config.validation import (
    NamedArguments,
    as_path,
    folder_name,
    member,
    refuse_no_mapping,
    refuse_not_callable,
    refuse_text_for_boolean,
    system_dbt,
    texts,
)
from cosmos_venv.constants import (
    BatchBy,
    DbtResourceType,
    InvocationMode,
    LoadMode,
    SeedRenderingBehavior,
    SourceRenderingBehavior,
    TestBehavior,
)
from cosmos_venv.exceptions import CosmosValueError, deprecated, warn


@dataclass
class RenderConfig(NamedArguments):
    """The nodes of the project that become tasks, and the way in which the project is parsed to know them.

    :param emit_datasets: whether tasks let Airflow know which assets the nodes that ran have updated; a boolean, or a
        template of one.
    :param test_behavior: where tests stand in the DAG.
    :param load_method: where the nodes come from. AUTOMATIC: a manifest if there is one, else ``dbt ls``, which needs a
        profile.
    :param invocation_mode: accepted for Cosmos's sake; ``dbt ls`` always runs as a process of its own here.
    :param select: dbt selection texts, a list; empty: all nodes.
    :param exclude: dbt selection texts of the nodes that are left out of ``select``.
    :param selector: name of a selector in ``selectors.yml``; where given, dbt ignores ``select`` and ``exclude``.
    :param dbt_deps: whether ``dbt deps`` runs before ``dbt ls``; None: as in ProjectConfig.
    :param env_vars: environment variables of ``dbt ls``, text to text; None: those of ProjectConfig.
    :param dbt_executable_path: the dbt that parses; None: the dbt that runs, of ExecutionConfig or of the environment.
    :param dbt_project_path: the project's folder for the DAG processor, where it is not that of ProjectConfig; kept as
        ``project_path``.
    :ivar project_path: ``dbt_project_path``; None: it was not given.
    :param dbt_ls_path: for DBT_LS_FILE: a file with the output of ``dbt ls --output json``.
    :param enable_mock_profile: parse with mock credentials: the connection is not looked up.
    :param airflow_vars_to_purge_dbt_ls_cache: names of Airflow Variables; when the value of one changes, dbt is asked
        again.
    :param airflow_vars_to_purge_dbt_yaml_selectors_cache: accepted for Cosmos's sake; no selectors are kept.
    :param group_nodes_by_folder: make a task group of each folder, around the tasks of the nodes in it.
    :param source_rendering_behavior: whether sources become tasks. With ALL and WITH_TESTS_OR_FRESHNESS, a source that
        declares a freshness gets a task that looks at it. Any other source gets a placeholder with ALL. With
        WITH_TESTS_OR_FRESHNESS it gets a task only when it has tests, and that task has no effect.
    :param wait_for_sources: let the task of a source with a freshness wait until the source is fresh, instead of
        failing.
    :param source_pruning: leave out sources that no selected node or test reads.
    :param seed_rendering_behavior: whether seeds become tasks. With WHEN_SEED_CHANGES a task, which is told so in its
        context (``should_run_if_seed_changed``), loads a seed only when its content has changed since the last load.
    :param node_converters: callables, by resource type, that make the tasks of the nodes of this type. Each returns a
        task, a task group or None (docs/reference/rendering.md has the keywords that it is called with).
    :param node_conversion_by_task_group: whether a converter replaces the whole group of a node with tests, or its
        first task only.
    :param normalize_task_id: called with a node that has no group of its own; gives the id of its task.
    :param normalize_task_display_name: called with the same nodes; gives the text that Airflow shows instead of the id.
    :param should_detach_multiple_parents_tests: run each test of more than one node in a task of its own, behind all of
        them, with TestBehavior.AFTER_EACH and BUILD.
    :param enable_owner_inheritance: whether ``config.meta.owner`` becomes the task's owner.
    :param ephemeral_models_as_empty_operator: draw ephemeral models, for which dbt does nothing, as placeholders.
    :param batch_by: run many nodes in one ``dbt build``, with their tests: all of one ``folder``, ``tag``, ``wave``
        (whose parents are in earlier waves) or ``chain`` (each the only child of its only parent), or ``all``. Or a
        callable, which is called with the nodes by unique id and returns names of batches by unique id. None: a task a
        node.
    :param run_summary: whether a last task, ``dbt_run_summary``, has a table with the results of all nodes. It does not
        count for the state of the DAG run.
    :param run_artifacts: whether a run leaves one ``run_results.json`` and one ``manifest.json`` below
        ``[cosmos] remote_target_path``, as one ``dbt build`` does. It gives the table of ``run_summary`` too.
    :param notify_owners: notifiers of Airflow by ``config.meta.owner`` of nodes: each is called once a run with the
        nodes of its owner that have failed or warned. The key ``*`` is for nodes of all other owners, and for nodes
        without an owner.
    :param run_hooks_once: whether the hooks ``on-run-start`` and ``on-run-end`` of the project run once in a run of the
        DAG: by the setup task ``dbt_on_run_start`` and the teardown task ``dbt_on_run_end``. Otherwise dbt runs them in
        each command.
    :param allow_empty_selection: whether a selection without nodes, or nodes that all have no task, make an empty DAG,
        with a warning. Otherwise they are an error: an empty DAG is green.
    :raises CosmosValueError: for a value or combination that is wrong, or that is not supported.
    """

    emit_datasets: bool | str = True
    test_behavior: TestBehavior = TestBehavior.AFTER_EACH
    load_method: LoadMode = LoadMode.AUTOMATIC
    invocation_mode: InvocationMode = InvocationMode.DBT_RUNNER
    select: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    selector: str | None = None
    dbt_deps: bool | None = None
    node_converters: dict[DbtResourceType, Callable[..., Any]] | None = None
    node_conversion_by_task_group: bool | None = True
    dbt_executable_path: str | Path | None = None
    env_vars: dict[str, str] | None = None
    dbt_project_path: InitVar[str | Path | None] = None
    dbt_ls_path: Path | None = None
    project_path: Path | None = field(init=False)
    enable_mock_profile: bool = True
    group_nodes_by_folder: bool = False
    source_rendering_behavior: SourceRenderingBehavior = SourceRenderingBehavior.NONE
    source_pruning: bool = False
    wait_for_sources: bool = False
    seed_rendering_behavior: SeedRenderingBehavior = SeedRenderingBehavior.ALWAYS
    airflow_vars_to_purge_dbt_ls_cache: list[str] = field(default_factory=list)
    airflow_vars_to_purge_dbt_yaml_selectors_cache: list[str] = field(default_factory=list)
    normalize_task_id: Callable[..., Any] | None = None
    normalize_task_display_name: Callable[..., Any] | None = None
    should_detach_multiple_parents_tests: bool = False
    enable_owner_inheritance: bool | None = True
    ephemeral_models_as_empty_operator: bool = True
    batch_by: BatchBy | Callable[..., Any] | None = None
    run_summary: bool = False
    run_artifacts: bool = False
    notify_owners: dict[str, Callable[..., Any]] | None = None
    run_hooks_once: bool = False
    allow_empty_selection: bool = False

    def __post_init__(self, dbt_project_path: str | Path | None) -> None:
        self._coerce()
        self._warn_of_old_names()
        self._refuse_impossible()
        self.project_path = as_path(dbt_project_path)
        self.dbt_ls_path = as_path(self.dbt_ls_path)

    @property
    def project_name(self) -> str:
        """The project folder's name up to a dot; empty when RenderConfig was given no folder."""
        return folder_name(self.project_path) if self.project_path else ""

    @property
    def has_last_task(self) -> bool:
        """Whether a task behind all others tells of the nodes of a run."""
        return self.run_summary or self.run_artifacts or bool(self.notify_owners)

    @property
    def has_own_executable(self) -> bool:
        """Whether another dbt than the one on the PATH is wanted."""
        return bool(self.dbt_executable_path) and str(self.dbt_executable_path) != system_dbt()

    def _coerce(self) -> None:
        for behavior in (SourceRenderingBehavior, TestBehavior):
            name = "test_behavior" if behavior is TestBehavior else "source_rendering_behavior"
            if getattr(self, name) is None:  # as Cosmos takes it
                text = f"RenderConfig.{name} None is taken as {behavior.NONE}; write that."
                warn(text, UserWarning)
                setattr(self, name, behavior.NONE)
        kinds: dict[str, type[Enum]] = {
            "test_behavior": TestBehavior,
            "load_method": LoadMode,
            "invocation_mode": InvocationMode,
            "source_rendering_behavior": SourceRenderingBehavior,
            "seed_rendering_behavior": SeedRenderingBehavior,
        }
        for name, kind in kinds.items():
            setattr(self, name, member(kind, getattr(self, name), f"RenderConfig.{name}"))
        if self.batch_by is not None and not callable(self.batch_by):
            self.batch_by = member(BatchBy, self.batch_by, "RenderConfig.batch_by")
        for name in (
            "select",
            "exclude",
            "airflow_vars_to_purge_dbt_ls_cache",
            "airflow_vars_to_purge_dbt_yaml_selectors_cache",
        ):
            setattr(self, name, texts(getattr(self, name), f"RenderConfig.{name}"))
        refuse_no_mapping("RenderConfig.node_converters", self.node_converters)
        refuse_no_mapping("RenderConfig.notify_owners", self.notify_owners)
        for owner, notifier in (self.notify_owners or {}).items():
            if not callable(notifier):
                raise CosmosValueError(
                    f"RenderConfig.notify_owners[{owner!r}]={notifier!r} cannot be called. Give a notifier of Airflow, "
                    "or a function that takes Airflow's context."
                )
        if self.node_converters:
            where = "RenderConfig.node_converters: the key"
            self.node_converters = {
                member(DbtResourceType, kind, where): each for kind, each in self.node_converters.items()
            }

    def _warn_of_old_names(self) -> None:
        if self.env_vars:
            deprecated("RenderConfig.env_vars", "ProjectConfig.env_vars")
            refuse_no_mapping("RenderConfig.env_vars", self.env_vars)
        if self.dbt_deps is not None:
            deprecated("RenderConfig.dbt_deps", "ProjectConfig.install_dbt_deps")

    def _refuse_impossible(self) -> None:
        for each in fields(self):
            if each.type in ("bool", "bool | None"):
                refuse_text_for_boolean(f"RenderConfig.{each.name}", getattr(self, each.name))
        if (
            self.seed_rendering_behavior is SeedRenderingBehavior.WHEN_SEED_CHANGES
            and self.test_behavior is TestBehavior.BUILD
        ):
            raise CosmosValueError(
                "RenderConfig.seed_rendering_behavior WHEN_SEED_CHANGES does not go with test_behavior BUILD: `dbt "
                "build` cannot skip single seeds. Choose another test_behavior, or SeedRenderingBehavior.ALWAYS."
            )
        if self.wait_for_sources and self.source_rendering_behavior is SourceRenderingBehavior.NONE:
            raise CosmosValueError(
                "RenderConfig.wait_for_sources=True, and source_rendering_behavior NONE: there is no task that could "
                "wait. Give SourceRenderingBehavior.ALL or WITH_TESTS_OR_FRESHNESS, or drop wait_for_sources."
            )
        self._refuse_impossible_batches()
        for name in ("normalize_task_id", "normalize_task_display_name"):
            refuse_not_callable(f"RenderConfig.{name}", getattr(self, name))
        for kind, converter in (self.node_converters or {}).items():
            refuse_not_callable(f"RenderConfig.node_converters[{kind.value!r}]", converter)

    def _refuse_impossible_batches(self) -> None:
        if self.batch_by is None:
            return
        in_batches = self.test_behavior in (TestBehavior.AFTER_EACH, TestBehavior.BUILD)
        if in_batches and DbtResourceType.TEST in (self.node_converters or {}):
            raise CosmosValueError(
                "RenderConfig.batch_by does not go with a node converter for tests: they run in the batches of their "
                "nodes. Drop one of the two, or run tests with TestBehavior.AFTER_ALL."
            )
