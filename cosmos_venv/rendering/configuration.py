"""The configuration of one DAG: the arguments that all its dbt tasks share, and contradictions, which are refused.

Precedence as in Cosmos: what the configuration decides replaces the same key of ``operator_args``.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from cosmos_venv import settings
from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.config.execution import refuse_mode
from cosmos_venv.config.run_params import RunParams
from cosmos_venv.constants import (
    SELECT_TASK_ID,
    TESTS,
    DbtResourceType,
    ExecutionMode,
    SourceRenderingBehavior,
    TestBehavior,
    TestIndirectSelection,
)
from cosmos_venv.exceptions import CosmosValueError, deprecated
from cosmos_venv.operators.parameters import OUTPUT_ONLY
from cosmos_venv.rendering.task_arguments import BUILT, OF_THE_PLAN, SETUP_OPERATOR_ARGS, PlanningSettings

logger = logging.getLogger(__name__)

_SELECTING = ("select", "models", "selector", "exclude")
_SETUP = "ExecutionConfig.setup_operator_args"
_FRESHNESS = "freshness_callback"
_OF_THE_PRODUCER = {
    **dict.fromkeys(
        _SELECTING, "builds the nodes of the DAG. Choose them with RenderConfig.select, exclude or selector"
    ),
    "indirect_selection": "names each test to dbt. Choose tests with RenderConfig.test_behavior and exclude",
    **dict.fromkeys(("nodes", "sources"), "builds the nodes of the DAG. Drop it"),
    "extra_context": "has one of its own. Give operator_args",
    "project_dir": "builds the project of all tasks. Give ProjectConfig(dbt_project_path=...)",
    "profile_config": "builds with the profile of all tasks. Give profile_config to the DAG",
}
"""Arguments that a user must not give to the producer -> what the producer does instead, and the way out."""
_NARROWING = frozenset({*_SELECTING, "indirect_selection"})
_OF_AN_ENVIRONMENT = frozenset({"pip_install_options", "virtualenv_dir", "py_executable"})
_DEPRECATED = {
    "env": "ProjectConfig.env_vars",
    "install_deps": "ProjectConfig or ExecutionConfig install_dbt_deps",
    "schema": "profile_args of the profile mapping",
}
"""Arguments that Cosmos takes from operator_args too -> what to use instead."""
_FLAGS = ("dbt_cmd_flags", "dbt_cmd_global_flags")


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a user says about one DbtDag or DbtTaskGroup.

    :param project: where the project is.
    :param profile: how dbt reaches the warehouse.
    :param execution: how and where dbt runs.
    :param render: which nodes become tasks, and how.
    :param operator_args: arguments for every dbt task.
    :param on_warning_callback: for the tasks that run tests or look at the freshness of sources; None: there is none.
    :param run_params: names of the params by which a run chooses nodes; None: it cannot.
    """

    project: ProjectConfig
    profile: ProfileConfig
    execution: ExecutionConfig
    render: RenderConfig
    operator_args: Mapping[str, Any]
    on_warning_callback: Callable[..., Any] | None = None
    run_params: RunParams | None = None

    @classmethod
    def of(
        cls,
        project_config: ProjectConfig,
        profile_config: ProfileConfig | None,
        execution_config: ExecutionConfig | None,
        render_config: RenderConfig | None,
        operator_args: Mapping[str, Any] | None,
        on_warning_callback: Callable[..., Any] | None = None,
        run_params: object = None,
    ) -> Configuration:
        """The configuration, checked as far as it can be before anything is loaded.

        :param project_config: where the project is.
        :param profile_config: how dbt reaches the warehouse; it must be given.
        :param execution_config: how and where dbt runs; None: the defaults.
        :param render_config: which nodes become tasks, and how; None: the defaults.
        :param operator_args: arguments for every dbt task; None: there are none.
        :param on_warning_callback: for the tasks that run tests or look at the freshness of sources.
        :param run_params: as ``RunParams.of`` takes it.
        :raises CosmosValueError: for parameters that contradict each other or are missing, with their names.
        :raises CosmosLoadDbtException: when a project that lies elsewhere cannot be fetched.
        """
        execution, render = execution_config or ExecutionConfig(), render_config or RenderConfig()
        refuse_mode(execution.execution_mode, render.seed_rendering_behavior)
        if profile_config is None:
            raise CosmosValueError(
                f"profile_config is missing, and {execution.execution_mode} needs it: dbt runs with a profile. "
                "Give ProfileConfig(profile_name=..., target_name=..., profile_mapping=...)."
            )
        if project_config.address is not None:
            from cosmos_venv.project.remote_project import copy_of  # few projects lie elsewhere

            project_config = project_config.at(copy_of(project_config.address))
        arguments = dict(operator_args or {})
        if execution.execution_mode is ExecutionMode.AIRFLOW_ASYNC and execution.async_py_requirements:
            if arguments.get("py_requirements", execution.async_py_requirements) != execution.async_py_requirements:
                raise CosmosValueError(
                    f"operator_args['py_requirements']={arguments['py_requirements']!r} and "
                    f"ExecutionConfig.async_py_requirements={execution.async_py_requirements!r} are two environments "
                    "of one project. Give the latter alone."
                )
            arguments["py_requirements"] = execution.async_py_requirements
        configuration = cls(
            project=project_config,
            profile=profile_config,
            execution=execution,
            render=render,
            operator_args=arguments,
            on_warning_callback=on_warning_callback,
            run_params=RunParams.of(run_params),
        )
        project_config.validate_project()
        profile_config.validate_profiles_yml()
        configuration._refuse_contradictions()
        return configuration

    def graph_arguments(self) -> dict[str, Any]:
        """The arguments of the graph of the project."""
        return {
            "project": self.project,
            "render_config": self.render,
            "execution_config": self.execution,
            "profile_config": self.profile,
            "operator_args": self.operator_args,
        }

    def refuse_beside_dag(self, dag: object, *, passes_failures: bool = False) -> None:
        """Refuse what the DAG around the tasks does not allow.

        :param dag: the DAG.
        :param passes_failures: whether a model has ``on_error: continue``, which is known once the project is loaded.
        :raises CosmosValueError: where the DAG fails fast, but its tasks need a trigger rule other than
            ``all_success``. Also where the user gives a trigger rule, but the tasks need their own.
        """
        rules = (self.operator_args.get("trigger_rule"), (getattr(dag, "default_args", None) or {}).get("trigger_rule"))
        rule = next(filter(None, rules), None)
        if passes_failures and rule is not None and (rule != "all_success" or self.run_params is not None):
            raise CosmosValueError(
                f"trigger_rule={str(rule)!r} does not go with on_error: continue of a model: tasks run behind one that "
                "has failed, by rules of their own. Leave trigger_rule out, or drop on_error."
            )
        name = next((name for name in ("fail_fast", "fail_stop") if getattr(dag, name, False)), None)
        if name is None:
            return
        if self.execution.execution_mode is ExecutionMode.WATCHER:
            what = "ExecutionMode.WATCHER: its tasks all wait from the beginning"
            way_out = "operator_args={'fail_fast': True} lets dbt itself end at the first failure"
        elif self.run_params is not None:
            what, way_out = "run_params: a task runs behind tasks that were skipped", "Or leave run_params out"
        elif passes_failures:
            what, way_out = "on_error: continue of a model: tasks run behind one that has failed", "Or drop on_error"
        elif self.render.run_hooks_once:
            what, way_out = "run_hooks_once: its last task runs behind skipped tasks", "Or leave run_hooks_once out"
        else:
            return
        raise CosmosValueError(
            f"{name}=True of the DAG does not go with {what}, and Airflow wants the trigger rule all_success of each "
            f"task of such a DAG. Leave {name} out. {way_out}."
        )

    def planning_settings(self) -> PlanningSettings:
        """The settings that a plan depends on: those of Airflow's configuration now, and those of the DAG."""
        return PlanningSettings(
            groups_by_path=settings.enable_hierarchical_naming_for_group_nodes_by_folder,
            most_watching=settings.watcher_max_tasks,
            longest_page=settings.task_docs_max_chars,
            has_sql_pages=settings.task_docs_compiled_sql,
            docs_base=settings.docs_base(),
            is_choosable=self.run_params is not None and self.run_params.chooses,
            query_adapter=self.profile.get_profile_type() if self._is_async else "",
            has_setup=settings.enable_setup_async_task,
            has_teardown=settings.enable_teardown_async_task,
            has_metric_views=settings.enable_semantic_metric_view_reclassification,
            has_sql_store=settings.upload_sql_to_xcom or bool(settings.remote_target_path),
            asks_freshness=self._asks_freshness,
        )

    def shared_arguments(self, prefix: str) -> dict[str, Any]:
        """The arguments that every task gets.

        :param prefix: with which the ids of all tasks of the project begin.
        """
        own: dict[str, Any] = {
            "project_dir": self.execution.project_path or self.project.dbt_project_path,
            "profile_config": self._profile(),
            "partial_parse": self.project.partial_parse,
            "emit_datasets": self.render.emit_datasets,
            "install_deps": self._install_deps(),
            "env": self.operator_args.get("env") or self.project.env_vars,
            "vars": self.operator_args.get("vars") or self.project.dbt_vars,
        }
        if self.execution.dbt_mode(self.operator_args) is ExecutionMode.LOCAL:
            own["dbt_executable_path"] = self.execution.dbt_executable_path
            if self.execution.invocation_mode is not None:
                own["invocation_mode"] = self.execution.invocation_mode
        elif self.execution.virtualenv_dir is not None:
            own["virtualenv_dir"] = self.execution.virtualenv_dir
        if self.run_params is not None:
            own["run_params"] = {**self.run_params.names(), "task_id": f"{prefix}{SELECT_TASK_ID}"}
        where_given = {
            "copy_dbt_packages": self.project.copy_dbt_packages,
            "push_node_rows": self.render.has_last_task or self.render.run_hooks_once or None,
            "run_hooks_once": self.render.run_hooks_once or None,
            "notify_owners": self.render.notify_owners or None,
            "run_artifacts": prefix.rstrip(".") if self.render.run_artifacts else None,
            "on_warning_callback": self.on_warning_callback,
        }
        own |= {name: value for name, value in where_given.items() if value is not None}
        # Queries use the connection of the profile mapping, as dbt does.
        conn_id = getattr(self.profile.profile_mapping, "conn_id", None)
        of_queries = {"gcp_conn_id": conn_id} if self._is_async and conn_id else {}
        return {**of_queries, **self.operator_args, **own, **self._arguments_of_watcher()}

    @property
    def _is_async(self) -> bool:
        return self.execution.execution_mode is ExecutionMode.AIRFLOW_ASYNC

    @property
    def _asks_freshness(self) -> bool:
        """Whether the producer calls its ``freshness_callback``: as in Cosmos, only where the DAG shows sources."""
        has_callback = (self.execution.setup_operator_args or {}).get(_FRESHNESS) is not None
        return has_callback and self.render.source_rendering_behavior is not SourceRenderingBehavior.NONE

    def _arguments_of_watcher(self) -> dict[str, Any]:
        """The arguments that all tasks of ExecutionMode.WATCHER get."""
        if self.execution.execution_mode is not ExecutionMode.WATCHER:
            return {}
        own: dict[str, Any] = {}
        if settings.watcher_dbt_execution_queue:
            own["queue"] = settings.watcher_dbt_execution_queue
        of_producer = dict(self.execution.setup_operator_args or {})
        if not self._asks_freshness:
            of_producer.pop(_FRESHNESS, None)
        if settings.watcher_dbt_producer_queue:
            of_producer = {"queue": settings.watcher_dbt_producer_queue, **of_producer}
        return {**own, SETUP_OPERATOR_ARGS: of_producer} if of_producer else own

    def _profile(self) -> ProfileConfig:
        """The profile. As in Cosmos, ``operator_args["schema"]`` replaces the schema of a profile mapping."""
        schema, mapping = self.operator_args.get("schema"), self.profile.profile_mapping
        if schema is None or mapping is None:
            return self.profile
        mapping = copy.copy(mapping)  # other DAGs may share the mapping
        vars(mapping)["profile_args"] = {**(getattr(mapping, "profile_args", None) or {}), "schema": schema}
        return dataclasses.replace(self.profile, profile_mapping=mapping)

    def _install_deps(self) -> bool | str:
        if self.execution.install_dbt_deps is not None:
            return self.execution.install_dbt_deps
        given: bool | str = self.operator_args.get("install_deps", self.project.install_dbt_deps)
        return given

    def _refuse_contradictions(self) -> None:
        self._refuse_two_project_paths()
        self._refuse_two_environments()
        self._refuse_arguments_of_the_plan()
        self._refuse_beside_tasks_of_run()
        if not isinstance(self.operator_args.get("extra_context") or {}, Mapping):
            raise CosmosValueError(
                f"operator_args['extra_context']={self.operator_args['extra_context']!r} must be a mapping."
            )
        if not isinstance(self.operator_args.get("exclude") or "", str | list | tuple):
            raise CosmosValueError(
                f"operator_args['exclude']={self.operator_args['exclude']!r} must be a text or a list of texts."
            )
        for name, instead in _DEPRECATED.items():
            if name in self.operator_args:
                deprecated(f"operator_args[{name!r}]", instead)
        is_watcher = self.execution.execution_mode is ExecutionMode.WATCHER
        if is_watcher:
            self._refuse_beside_watcher()
        if self._is_async:
            self._refuse_beside_async()
        if self.run_params is not None:
            self._refuse_beside_run_params()
        if self.render.batch_by is not None or is_watcher:
            self._refuse_narrowing()
        for text in sorted(set(self.render.select) & set(self.render.exclude)):
            raise CosmosValueError(f"{text!r} is selected and excluded by RenderConfig. Drop it from one of the two.")

    def _refuse_arguments_of_the_plan(self) -> None:
        setup = self.execution.setup_operator_args or {}
        for where, given in (("operator_args", self.operator_args), (_SETUP, setup)):
            for name in sorted(OF_THE_PLAN & set(given)):
                raise CosmosValueError(f"{where}[{name!r}] is decided for each task by the project. Drop it.")
            for name in OUTPUT_ONLY:
                if name in given:
                    raise CosmosValueError(f"{where}[{name!r}] is written by the task and cannot be given. Drop it.")
        for name in sorted(_OF_THE_PRODUCER.keys() & set(setup)):
            value = f"={setup[name]!r}" if name in _NARROWING else ""  # a profile may have secrets
            raise CosmosValueError(f"{_SETUP}[{name!r}]{value}: the producer {_OF_THE_PRODUCER[name]}.")
        if _FRESHNESS in self.operator_args:
            raise CosmosValueError(
                f"operator_args[{_FRESHNESS!r}] is for the producer of ExecutionMode.WATCHER. Give it as {_SETUP}."
            )

    def _refuse_beside_watcher(self) -> None:
        """Refuse what one dbt build of all nodes cannot do."""
        render, setup = self.render, self.execution.setup_operator_args or {}
        converted = {*map(DbtResourceType, render.node_converters or ())}
        has_environment = self.execution.producer_dbt_mode(self.operator_args) is ExecutionMode.VIRTUALENV
        looks = f"{_SETUP}[{_FRESHNESS!r}]: the producer itself looks at the sources"
        refusals = {
            f"RenderConfig.test_behavior {render.test_behavior}: no task could show the states of the tests. "
            "Use AFTER_EACH, AFTER_ALL or NONE": render.test_behavior is TestBehavior.BUILD,
            "RenderConfig.node_converters of models, seeds, snapshots, functions or tests: dbt builds these whatever "
            "tasks they become. Use ExecutionMode.LOCAL or VIRTUALENV": not converted.isdisjoint((*BUILT, *TESTS)),
            f"{_SETUP}['dbt_executable_path']: the producer runs the dbt of its environment. Drop it, or "
            "py_requirements and virtualenv_dir": has_environment and "dbt_executable_path" in setup,
            f"{_SETUP} {sorted(_OF_AN_ENVIRONMENT & setup.keys())}: the producer runs an installed dbt. Give "
            "py_requirements there too": not has_environment and bool(_OF_AN_ENVIRONMENT & setup.keys()),
            f"RenderConfig.wait_for_sources=True and {looks}. Drop one of the two": (
                self._asks_freshness and render.wait_for_sources
            ),
            f"operator_args['emit_source_assets']=True and {looks}. Drop one of the two": (
                self._asks_freshness and bool(self.operator_args.get("emit_source_assets"))
            ),
            f"ExecutionConfig.test_indirect_selection {self.execution.test_indirect_selection}: each test is named to "
            "dbt. Leave EAGER": self.execution.test_indirect_selection is not TestIndirectSelection.EAGER,
        }
        _refuse("ExecutionMode.WATCHER", refusals)
        if setup.get(_FRESHNESS) is not None and not self._asks_freshness:
            logger.warning(
                "%s[%r] is not called with RenderConfig.source_rendering_behavior NONE. Give %s.",
                _SETUP,
                _FRESHNESS,
                SourceRenderingBehavior.ALL,
            )

    def _refuse_beside_async(self) -> None:
        """Refuse what a query of a single model cannot do. Refuse a missing ``async_py_requirements`` too."""
        render = self.render
        refusals = {
            f"RenderConfig.test_behavior {render.test_behavior}: a query runs no tests. Use AFTER_EACH, AFTER_ALL or "
            "NONE": render.test_behavior is TestBehavior.BUILD,
            "RenderConfig.batch_by: a query builds one model. Leave it out, or use ExecutionMode.LOCAL or VIRTUALENV": (
                render.batch_by is not None
            ),
            "RenderConfig.run_summary, run_artifacts, notify_owners or run_hooks_once: a query says nothing of its "
            "rows to the last task. Leave them out": render.has_last_task or render.run_hooks_once,
            "run_params: the models are compiled before a run could choose among them. Leave it out, or use "
            "ExecutionMode.LOCAL or VIRTUALENV": self.run_params is not None,
        }
        _refuse("ExecutionMode.AIRFLOW_ASYNC", refusals)
        if settings.enable_setup_async_task and self.execution.async_py_requirements is None:
            raise CosmosValueError(
                "ExecutionConfig.async_py_requirements is missing: ExecutionMode.AIRFLOW_ASYNC compiles the models in "
                "an environment of its own. Give ['dbt-core~=1.11.0', 'dbt-bigquery'] or the like, or [] for the dbt "
                "of dbt_executable_path."
            )

    def _refuse_beside_tasks_of_run(self) -> None:
        """Refuse artifacts without a place."""
        if self.render.run_artifacts and not settings.remote_target_path:
            raise CosmosValueError(
                "RenderConfig.run_artifacts=True, and [cosmos] remote_target_path is not set: it says where the "
                "artifacts of a run go, such as s3://bucket/dbt, or a folder that all workers share. Set it, or leave "
                "the parameter out."
            )

    def _refuse_beside_run_params(self) -> None:
        """Refuse modes and tasks that would run even if the run has not chosen their nodes."""
        refusals = {
            "ExecutionMode.WATCHER: its tasks wait for one dbt build of all nodes from the beginning of the run. Use "
            "ExecutionMode.LOCAL or VIRTUALENV": self.execution.execution_mode is ExecutionMode.WATCHER,
            "RenderConfig.node_converters: what they make does not know which nodes a run has chosen. Drop one of the "
            "two": bool(self.render.node_converters),
        }
        _refuse("run_params", refusals)

    def _refuse_narrowing(self) -> None:
        # Imported here: it imports the reader of YAML, which most DAGs do not need.
        from cosmos_venv.dbt.command import narrowing_flags, refuse_narrowing

        found = [f"operator_args[{name!r}]" for name in _SELECTING if self.operator_args.get(name)]
        for where, arguments in (("operator_args", self.operator_args), (_SETUP, self.execution.setup_operator_args)):
            for name in _FLAGS:
                given = (arguments or {}).get(name) or ()
                flags = given.get("build") or () if isinstance(given, Mapping) else given
                if isinstance(flags, list | tuple):
                    words = narrowing_flags([str(flag) for flag in flags])
                    found += [f"{word} in {where}[{name!r}]" for word in words]
        refuse_narrowing(found)

    def _refuse_two_project_paths(self) -> None:
        others = _given({"RenderConfig": self.render.project_path, "ExecutionConfig": self.execution.project_path})
        if self.project.dbt_project_path is not None and others:
            raise CosmosValueError(
                f"dbt_project_path stands in ProjectConfig and in {others}. Give it in ProjectConfig "
                "alone, or in RenderConfig (as the DAG processor sees it) and ExecutionConfig (as tasks see it)."
            )
        if self.project.dbt_project_path is None and self.execution.project_path is None:
            raise CosmosValueError(
                "No dbt project folder for the tasks: give ProjectConfig(dbt_project_path=...), or "
                "ExecutionConfig(dbt_project_path=...) where tasks see it elsewhere than the DAG processor."
            )

    def _refuse_two_environments(self) -> None:
        others = _given(
            {
                "operator_args['env']": self.operator_args.get("env"),
                "RenderConfig.env_vars": self.render.env_vars,
            }
        )
        if self.project.env_vars and others:
            raise CosmosValueError(
                f"Environment variables stand in ProjectConfig.env_vars and in {others}. "
                "Give them in ProjectConfig alone."
            )


def _refuse(what: str, refusals: Mapping[str, bool]) -> None:
    """Raise for the first refusal that applies."""
    for other, is_given in refusals.items():
        if is_given:
            raise CosmosValueError(f"{what} does not go with {other}.")


def _given(places: Mapping[str, object]) -> str:
    """The names of the places in which something is given."""
    return " and ".join(name for name, value in places.items() if value)
