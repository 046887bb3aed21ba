"""Every dbt operator: the dbt command that it is, its command line and its environment variables.

Each dbt command is a small class here; a mode (local, virtualenv) combines it with its own base, so that nothing about
a command is written twice. Operator-specific parameters stand in ``own_parameters`` instead of constructors of their
own: Airflow wraps every constructor of an operator's ancestry, and a DAG of thousands of tasks pays for each.
"""

from __future__ import annotations

import copy
import inspect
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from cosmos_venv import compat, settings
from cosmos_venv.compat import BaseOperator, context_variables, to_boolean
from cosmos_venv.config.validation import refuse_no_mapping
from cosmos_venv.constants import LAST_SUCCESS, NODE_CONFIG
from cosmos_venv.dbt.command import DbtOptions, Flags, dbt_command, vars_text
from cosmos_venv.exceptions import CosmosValueError, warn
from cosmos_venv.operators.event_time import event_time_flags, refuse_unknown_event_time
from cosmos_venv.processes.inherited_environment import inherited_environment, without_user_code
from cosmos_venv.public_names import name_lookup

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.dbt.command import FullOutputSubprocessResult

__all__ = ["AbstractDbtBase"]

REQUIRED: Any = object()
"""In ``own_parameters``: there is no default."""

FULL_REFRESH = "--full-refresh"

_SELECTING = ("select", "exclude", "selector", "models")
_OPTION_NAMES = tuple(DbtOptions.__struct_fields__)
_PACKAGE = __name__.partition(".")[0]
_SHARED = (type(None), bool, int, str)
_EMPTY: Mapping[str, Any] = {
    "env": dict,
    "interceptors": list,
    "callback_args": dict,
    "dbt_cmd_flags": list,
    "dbt_cmd_global_flags": list,
    "pip_install_options": list,
}
"""Parameters that are a dict or a list, and empty in most tasks."""


class _Empty:
    """The default of a parameter that takes a dict or a list: each task gets its own one when the attribute is read.

    Six empty dicts and lists in each task took a twentieth of the memory of a DAG of 10,000 tasks.

    :param name: the parameter.
    :param kind: makes the empty value: ``dict`` or ``list``.
    """

    makes_empty = True

    def __init__(self, name: str, kind: Callable[[], object]) -> None:
        self._name, self._kind = name, kind

    def __get__(self, task: object, cls: object = None) -> Any:
        return self if task is None else vars(task).setdefault(self._name, self._kind())


class AbstractDbtBase(BaseOperator):
    """A dbt command as an operator. It knows which command to run; the mode knows where."""

    #: parameters of this command only, with their defaults; a parameter with ``REQUIRED`` has to be given.
    own_parameters: ClassVar[Mapping[str, Any]] = {}
    #: former names of this command's parameters, each with the present name.
    old_names: ClassVar[Mapping[str, str]] = {}
    #: the template fields that this class adds to those of its bases.
    own_template_fields: ClassVar[tuple[str, ...]] = (
        "env",
        "select",
        "exclude",
        "selector",
        "vars",
        "models",
        "dbt_cmd_flags",
    )

    #: the ``template_fields`` that the class itself declares, in Airflow's way; None: it declares none.
    declared_template_fields: ClassVar[Sequence[str] | None] = None

    #: whether ``on_warning_callback`` is called when nothing has warned, as in Cosmos.
    calls_back_without_warnings: ClassVar[bool] = True

    env: dict[str, Any] | None
    append_env: bool
    dbt_executable_path: str
    extra_context: Mapping[str, Any]
    interceptors: Sequence[Callable[[Any, Any], object]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give the class the template fields and parameters of all its bases. Python would take only the first base's.

        :param **kwargs: of the class statement.
        """
        super().__init_subclass__(**kwargs)
        bases = [vars(base) for base in reversed(cls.__mro__)]
        cls.declared_template_fields = vars(cls).get("template_fields")
        cls.template_fields = cls._all_template_fields()
        own = [base.get("own_parameters", {}) for base in bases]
        cls.own_parameters = {name: default for each in own for name, default in each.items()}
        cls._have_defaults()

    @classmethod
    def _have_defaults(cls) -> None:
        """Set the default of each parameter on the class, where all tasks can share the value.

        Most of a task's 50 parameters are never given. A task with all of them would need half as much memory again.
        """
        if cls.__module__.partition(".")[0] != _PACKAGE:
            return  # a user's class may have methods and properties of such names from a base that comes later
        constructor: Any = vars(cls).get("__init__")
        if constructor is not None:
            # Airflow wraps the inherited constructor anew in each class with a mixin before its base, and asks for the
            # signature each time: 0.2 ms for forty parameters. wraps() hands this attribute on.
            constructor.__signature__ = inspect.signature(constructor)
        defaults = {**(getattr(constructor, "__kwdefaults__", None) or {}), **cls.own_parameters}
        for name, default in defaults.items():
            if isinstance(default, _SHARED) and not hasattr(cls, name):
                setattr(cls, name, _Empty(name, _EMPTY[name]) if name in _EMPTY else default)

    def _store(self, values: Mapping[str, Any]) -> None:
        """Set these values, except defaults of the class. They go into ``__dict__``: Airflow checks each attribute that
        is assigned.
        """
        for name, value in values.items():
            default = getattr(type(self), name, values)
            if default is not value and (value or not isinstance(default, _Empty)):
                self.__dict__[name] = value

    @classmethod
    def _all_template_fields(cls) -> tuple[str, ...]:
        """The fields that the class or its nearest base declares in Airflow's way; else the own fields of all bases."""
        fields: list[str] = []
        for base in cls.__mro__:
            declared = vars(base).get("declared_template_fields")
            own = vars(base).get("own_template_fields", ()) if declared is None else declared
            fields = [*own, *fields]
            if declared is not None:
                break
        return tuple(dict.fromkeys(fields))

    if not TYPE_CHECKING:  # Airflow declares an attribute

        @property
        def operator_extra_links(self) -> tuple[Any, ...]:
            """Airflow's links of the task: to the page of its node in the published dbt docs."""
            # Airflow asks a mapped operator too, which has none of these attributes.
            node = getattr(self, "extra_context", {}).get(NODE_CONFIG) or {}
            if not (unique_id := node.get("unique_id")):
                return ()
            from cosmos_venv.operators.docs_link import docs_links  # a worker or the serialiser asks, no DAG file

            return docs_links(unique_id)

    @property
    @abstractmethod
    def base_cmd(self) -> list[str]:
        """The dbt sub-command, as words. Most classes set it as an attribute."""

    @classmethod
    def take_own_parameters(cls, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """This command's own parameters, and the rest. ``default_args`` count where an own parameter is not given.

        :param arguments: the arguments that no constructor has taken, by name.
        :returns: a value for each name in ``own_parameters``, and all other arguments.
        :raises CosmosValueError: when a parameter without a default is missing, or ``event_time`` is unknown.
        """
        rest = dict(arguments)
        for old, new in cls.old_names.items():
            if old in rest:
                warn(f"{old} of {cls.__name__} is called {new} now.")
                rest.setdefault(new, rest.pop(old))
        defaults = {**cls.own_parameters, **(rest.get("default_args") or {})}
        own = {name: rest.pop(name, defaults[name]) for name in cls.own_parameters}
        for name, value in own.items():
            if value is REQUIRED:
                raise CosmosValueError(f"{cls.__name__} needs {name}: give it, as in {name}='...'.")
        refuse_unknown_event_time(own.get("event_time"))
        return own, rest

    def add_cmd_flags(self) -> list[str]:
        """The flags of this command only."""
        return []

    def build_cmd(
        self, context: Context | Mapping[str, Any], cmd_flags: Flags | None = None
    ) -> tuple[list[str], dict[str, str]]:
        """The command line, without the flags of the place where it runs, and the environment of the process.

        :param context: Airflow's context of the task.
        :param cmd_flags: instead of this command's own flags; None: its own.
        :returns: the words of the command line, and the environment variables.
        :raises CosmosValueError: for a value that dbt cannot be given, naming the parameter.
        """
        options = DbtOptions(**{name: getattr(self, name) for name in _OPTION_NAMES})
        own_flags = self.add_cmd_flags() if cmd_flags is None else cmd_flags
        own_flags = [*own_flags, *self._event_time_flags(own_flags, context)]
        return (
            dbt_command(self.dbt_executable_path, self.base_cmd, options, own_flags=own_flags),
            self.get_env(context),
        )

    def _event_time_flags(self, flags: Flags, context: Context | Mapping[str, Any]) -> list[str]:
        event_time = getattr(self, "event_time", None)  # of the commands that build models
        if event_time is None:
            return []
        if FULL_REFRESH in flags:
            # dbt would rebuild the table from the batches of the interval alone.
            self.log.info("A full refresh: dbt builds all batches, and event_time=%r does not count.", event_time)
            return []
        return event_time_flags(event_time, context)

    def get_env(self, context: Context | Mapping[str, Any]) -> dict[str, str]:
        """The worker's environment where ``append_env`` says so, Airflow's context variables, then ``env``.

        :param context: Airflow's context of the task.
        """
        refuse_no_mapping("env", self.env)  # the result of another task may be anything
        inherited = {}
        if self.append_env:
            inherited = without_user_code(inherited_environment(), self._folders_of_user_code())
        given = inherited | context_variables(context) | (self.env or {})
        return dict(pair for pair in (self._variable(name, value) for name, value in given.items()) if pair)

    def _folders_of_user_code(self) -> list[str]:
        """The folders of DAG files that dbt does not get on its search path."""
        return compat.folders_of_user_code(self.get_dag()) if settings.enable_dags_folder_exclusion_from_dbt else []

    def _variable(self, name: Any, value: Any) -> tuple[str, str] | None:
        for part, found in (("name", name), ("value", value)):
            if not isinstance(found, (str, bytes, os.PathLike)):
                self.log.warning("env: %r is left out: its %s is a %s, no text.", name, part, type(found).__name__)
                return None
        return os.fsdecode(name), os.fsdecode(value)

    def execute(self, context: Context, **kwargs: Any) -> Any:
        """Run the command to its end.

        :param context: Airflow's context of the task; ``extra_context`` is merged into it.
        :param **kwargs: of ``build_and_run_cmd``.
        :raises AirflowException: when dbt failed, with its own last lines.
        :raises AirflowSkipException: when dbt ended with ``skip_exit_code``.
        """
        return self._execute(context, **kwargs)

    def _execute(self, context: Context, **kwargs: Any) -> Any:
        """Do what ``execute`` does. Subclasses in this package override this method instead: Airflow 2 warns when one
        ``execute`` calls another, and fails the task with ``allow_nested_operators=False``.

        :param context: Airflow's context of the task.
        :param **kwargs: of ``build_and_run_cmd``.
        """
        self._run_dbt(context, **kwargs)

    def _run_dbt(self, context: Context, **kwargs: Any) -> FullOutputSubprocessResult:
        # Nodes that are configured alike share their configuration in the DAG; the task gets a copy of its own.
        node = copy.deepcopy({name: each for name, each in self.extra_context.items() if name == NODE_CONFIG})
        context.update({**self.extra_context, **node})  # type: ignore[typeddict-item]
        for interceptor in self.interceptors:
            interceptor(context, self)
        # The keywords are Cosmos's: a user's class may override the method.
        run = partial(self.build_and_run_cmd, context=context, cmd_flags=self.add_cmd_flags(), **kwargs)
        if not settings.enable_debug_mode:
            return run()
        from cosmos_venv.operators.memory_tracking import memory_tracked  # psutil takes its time

        with memory_tracked(self.log, context, interval=max(settings.debug_memory_poll_interval_seconds, 0.01)):
            return run()

    def build_and_run_cmd(
        self, context: Context | Mapping[str, Any], cmd_flags: Flags | None = None, *_: object, **kwargs: Any
    ) -> FullOutputSubprocessResult:
        """Build the command and run it. ``execute`` does so after the interceptors, which may change the operator.

        :param context: Airflow's context of the task.
        :param cmd_flags: instead of this command's own flags; None: its own.
        :param **kwargs: of ``run_command``.
        :returns: exit code and output of dbt.
        """
        # *_ takes run_as_async and async_context, which users' classes pass by position, as in Cosmos.
        command, env = self.build_cmd(context=context, cmd_flags=cmd_flags)
        return self.run_command(cmd=command, env=env, context=context, **kwargs)

    @abstractmethod
    def run_command(
        self, cmd: list[str], env: dict[str, str], context: Context | Mapping[str, Any], *_: object, **kwargs: Any
    ) -> FullOutputSubprocessResult:
        """Run the command where this mode runs dbt.

        :param cmd: the command line, as ``build_cmd`` gives it.
        :param env: the environment variables for dbt.
        :param context: Airflow's context of the task.
        :param **kwargs: further options, which each mode names.
        :returns: exit code and output of dbt.
        """


class FullRefreshMixin:
    """A command that makes tables, and takes ``--full-refresh``.

    :ivar full_refresh: dbt's ``--full-refresh``: a boolean, or a template of one.
    """

    own_parameters: ClassVar[Mapping[str, Any]] = {"full_refresh": False}
    own_template_fields: ClassVar[tuple[str, ...]] = ("full_refresh",)
    full_refresh: bool | str

    def add_cmd_flags(self) -> list[str]:
        """``--full-refresh`` where it is asked for. ``full_refresh`` may be the text that a template rendered to."""
        return [FULL_REFRESH] if to_boolean(self.full_refresh) else []


class DbtBuildMixin(FullRefreshMixin):
    """``dbt build``: seeds, models, snapshots and tests of the selection, in dbt's own order.

    :ivar on_warning_callback: called with Airflow's context, in which ``test_names`` and ``test_results`` are lists,
        after dbt has succeeded: a callable, or its import path. None: nothing is called.
    :ivar full_refresh: dbt's ``--full-refresh``: a boolean, or a template of one.
    :ivar log_format: dbt's ``--log-format``.
    :ivar event_time: the time by which microbatch models choose their batches: ``"data_interval"`` of the DAG run, or
        its partition: ``"hourly_partition"``, ``"daily_partition"``, ``"weekly_partition"``, ``"monthly_partition"`` or
        ``"yearly_partition"``. None: as dbt does.
    """

    base_cmd: ClassVar[list[str]] = ["build"]
    own_parameters: ClassVar[Mapping[str, Any]] = {"on_warning_callback": None, "log_format": None, "event_time": None}
    ui_color = "#8194E0"
    on_warning_callback: Callable[[dict[str, Any]], object] | str | None
    log_format: str | None
    event_time: str | None

    def add_cmd_flags(self) -> list[str]:
        """``--full-refresh`` and ``--log-format``, as far as they are asked for."""
        return super().add_cmd_flags() + (["--log-format", self.log_format] if self.log_format else [])


class DbtLSMixin:
    """``dbt ls``."""

    base_cmd: ClassVar[list[str]] = ["ls"]
    ui_color = "#DBCDF6"


class DbtSeedMixin(FullRefreshMixin):
    """``dbt seed``.

    :ivar full_refresh: dbt's ``--full-refresh``: a boolean, or a template of one.
    """

    base_cmd: ClassVar[list[str]] = ["seed"]
    ui_color = "#F58D7E"


class DbtSnapshotMixin:
    """``dbt snapshot``."""

    base_cmd: ClassVar[list[str]] = ["snapshot"]
    ui_color = "#964B00"


class DbtSourceMixin:
    """``dbt source freshness``.

    :ivar on_warning_callback: called with Airflow's context, in which ``test_names`` and ``test_results`` are lists,
        after dbt has succeeded: a callable, or its import path. None: nothing is called.
    :ivar emit_source_assets: whether the task tells Airflow which sources have new data, by events of their assets.
    """

    base_cmd: ClassVar[list[str]] = ["source", "freshness"]
    own_parameters: ClassVar[Mapping[str, Any]] = {"on_warning_callback": None, "emit_source_assets": False}
    ui_color = "#34CCEB"
    on_warning_callback: Callable[[dict[str, Any]], object] | str | None
    emit_source_assets: bool


class DbtRunMixin(FullRefreshMixin):
    """``dbt run``.

    :ivar full_refresh: dbt's ``--full-refresh``: a boolean, or a template of one.
    :ivar event_time: the time by which microbatch models choose their batches: ``"data_interval"`` of the DAG run, or
        its partition: ``"hourly_partition"``, ``"daily_partition"``, ``"weekly_partition"``, ``"monthly_partition"`` or
        ``"yearly_partition"``. None: as dbt does.
    """

    base_cmd: ClassVar[list[str]] = ["run"]
    own_parameters: ClassVar[Mapping[str, Any]] = {"event_time": None}
    ui_color = "#7352BA"
    ui_fgcolor = "#F4F2FC"
    event_time: str | None


class DbtSemanticMetricViewMixin(DbtRunMixin):
    """``dbt run`` of views of metrics, which Databricks and Snowflake have."""

    ui_color = "#E8A33D"
    ui_fgcolor = "#000"


class DbtTestMixin:
    """``dbt test``.

    :ivar on_warning_callback: called with Airflow's context, in which ``test_names`` and ``test_results`` are lists,
        after a test has warned: a callable, or its import path. None: nothing is called.
    """

    calls_back_without_warnings: ClassVar[bool] = False
    base_cmd: ClassVar[list[str]] = ["test"]
    own_parameters: ClassVar[Mapping[str, Any]] = {"on_warning_callback": None}
    ui_color = "#8194E0"
    on_warning_callback: Callable[[dict[str, Any]], object] | str | None


class DbtRunOperationMixin:
    """``dbt run-operation``: a macro of the project, with ``args`` as a dict or as YAML.

    :ivar macro_name: the macro of the project.
    :ivar args: its arguments: a dict, or YAML text. May be a template.
    """

    own_parameters: ClassVar[Mapping[str, Any]] = {"macro_name": REQUIRED, "args": None}
    own_template_fields: ClassVar[tuple[str, ...]] = ("args",)
    ui_color = "#8194E0"
    macro_name: str
    args: Mapping[str, Any] | str | None

    @property
    def base_cmd(self) -> list[str]:
        """``run-operation`` and the name of the macro."""
        return ["run-operation", self.macro_name]

    def add_cmd_flags(self) -> list[str]:
        """``--args`` as YAML, where there are any."""
        text = vars_text(self.args)
        return [] if text is None else ["--args", text]


class DbtDepsMixin:
    """``dbt deps``: the packages that the project lists."""

    base_cmd: ClassVar[list[str]] = ["deps"]
    ui_color = "#8194E0"


class DbtCompileMixin:
    """``dbt compile``: SQL as the warehouse would get it, in dbt's target folder."""

    base_cmd: ClassVar[list[str]] = ["compile"]
    ui_color = "#877c7c"


class DbtDocsMixin:
    """``dbt docs generate``: the project's documentation, in dbt's target folder."""

    base_cmd: ClassVar[list[str]] = ["docs", "generate"]
    ui_color = "#8194E0"


class DbtRetryMixin:
    """``dbt retry``: the nodes that failed, or were skipped for another, in the run with the artifacts at ``state``."""

    base_cmd: ClassVar[list[str]] = ["retry"]
    ui_color = "#8194E0"

    def _store(self, values: Mapping[str, Any]) -> None:
        name = type(self).__name__
        for each in _SELECTING:
            if values.get(each):
                raise CosmosValueError(
                    f"{each}={values[each]!r} of {name}: dbt retry runs what failed in the run of state, and chooses "
                    "nothing else. Drop it, or use the operator of dbt build."
                )
        if values.get("state") in (None, "", LAST_SUCCESS):
            raise CosmosValueError(
                f"state={values.get('state')!r} of {name}: give the folder or URL with the manifest.json and "
                "run_results.json of the run that failed, such as a callback of its task has uploaded."
            )
        super()._store(values)  # type: ignore[misc]


class DbtCloneMixin(FullRefreshMixin):
    """``dbt clone``.

    :ivar full_refresh: dbt's ``--full-refresh``: a boolean, or a template of one.
    """

    base_cmd: ClassVar[list[str]] = ["clone"]
    ui_color = "#83a300"


def make_own_parameters_mappable(module: Mapping[str, Any]) -> None:
    """Let ``partial`` and ``expand`` take the parameters in ``own_parameters`` of each operator of a module.

    :param module: the names of the module, which has defined all its operators.
    """
    for cls in [*module.values()]:
        if isinstance(cls, type) and issubclass(cls, AbstractDbtBase) and cls.__module__ == module["__name__"]:
            compat.allow_mapping_of(cls, cls.own_parameters)


if not TYPE_CHECKING:
    __getattr__ = name_lookup(__name__)
