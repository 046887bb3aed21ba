"""What does every dbt operator have in common? The dbt command it is, its command line and its environment variables.

Each dbt command is a small class here; a mode (local, virtualenv) combines it with its own base, so that nothing about
a command is written twice. Operator-specific parameters stand in ``own_parameters`` instead of constructors of their
own: Airflow wraps every constructor of an operator's ancestry, and a DAG of thousands of tasks pays for each.
"""

from __future__ import annotations

import copy
import os
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from cosmos_venv import settings
from cosmos_venv.compat import BaseOperator, context_variables, to_boolean
from cosmos_venv.constants import NODE_CONFIG
from cosmos_venv.dbt.command import DbtOptions, Flags, dbt_command, vars_text
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.public_names import name_lookup

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.dbt.process import FullOutputSubprocessResult

_OPTION_NAMES = tuple(DbtOptions.__dataclass_fields__)

_PACKAGE = __name__.partition(".")[0]
_SHARED = (type(None), bool, int, str)

REQUIRED: Any = object()
"""In ``own_parameters``: there is no default."""


class AbstractDbtBase(BaseOperator):
    """A dbt command as an operator. Knows what to run, not where: that is the mode's part."""

    #: parameters of this command only, with their defaults; one without a default has to be given.
    own_parameters: ClassVar[Mapping[str, Any]] = {}
    #: names that a parameter of this command had once, each with the one that it has now.
    old_names: ClassVar[Mapping[str, str]] = {}
    #: what this class adds to its bases' template fields.
    own_template_fields: ClassVar[tuple[str, ...]] = (
        *("env", "select", "exclude", "selector", "vars", "models", "dbt_cmd_flags"),
    )

    #: what a class of a user says itself, by Airflow's own attribute.
    declared_template_fields: ClassVar[Sequence[str] | None] = None

    env: dict[str, Any] | None
    append_env: bool
    dbt_executable_path: str
    extra_context: Mapping[str, Any]
    interceptors: Sequence[Callable[[Any, Any], object]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A class has the template fields and parameters of all its bases: Python would take those of the first."""
        super().__init_subclass__(**kwargs)
        bases = [vars(base) for base in reversed(cls.__mro__)]
        cls.declared_template_fields = vars(cls).get("template_fields")
        cls.template_fields = cls._all_template_fields()
        own = [base.get("own_parameters", {}) for base in bases]
        cls.own_parameters = {name: default for each in own for name, default in each.items()}
        cls._have_defaults()

    @classmethod
    def _have_defaults(cls) -> None:
        """The class itself has the default of each parameter, as far as it can be shared by all tasks.

        Most of a task's 50 parameters are never given. A task with all of them would need half as much memory again.
        """
        if cls.__module__.partition(".")[0] != _PACKAGE:
            return  # a user's class may have methods and properties of such names from a base that comes later
        constructor = vars(cls).get("__init__")
        defaults = {**(getattr(constructor, "__kwdefaults__", None) or {}), **cls.own_parameters}
        for name, default in defaults.items():
            if isinstance(default, _SHARED) and not hasattr(cls, name):
                setattr(cls, name, default)

    def _store(self, values: Mapping[str, Any]) -> None:
        """Have these as attributes: in one update, since Airflow checks every attribute that is assigned."""
        cls = type(self)
        self.__dict__.update({name: value for name, value in values.items() if getattr(cls, name, values) is not value})

    @classmethod
    def _all_template_fields(cls) -> tuple[str, ...]:
        """Those that the class, or the nearest base, declares as Airflow has it, else those of all bases together."""
        fields: list[str] = []
        for base in cls.__mro__:
            declared = vars(base).get("declared_template_fields")
            own = vars(base).get("own_template_fields", ()) if declared is None else declared
            fields = [*own, *fields]
            if declared is not None:
                break
        return tuple(dict.fromkeys(fields))

    @property
    @abstractmethod
    def base_cmd(self) -> tuple[str, ...]:
        """The dbt sub-command, in words. Most classes say it with an attribute."""

    @classmethod
    def take_own_parameters(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """This command's own parameters, taken out of the arguments; ``default_args`` count where one is not given.

        :raises CosmosValueError: when one without a default is missing.
        """
        for old, new in cls.old_names.items():
            if old in arguments:
                warnings.warn(f"{old} of {cls.__name__} is called {new} now.", DeprecationWarning, stacklevel=5)
                arguments.setdefault(new, arguments.pop(old))
        defaults = {**cls.own_parameters, **(arguments.get("default_args") or {})}
        own = {name: arguments.pop(name, defaults[name]) for name in cls.own_parameters}
        for name, value in own.items():
            if value is REQUIRED:
                raise CosmosValueError(f"{cls.__name__} needs {name}: give it, as in {name}='...'.")
        return own

    def add_cmd_flags(self) -> list[str]:
        """The flags of this command only."""
        return []

    def build_cmd(
        self, context: Context | Mapping[str, Any], cmd_flags: Flags | None = None
    ) -> tuple[list[str], dict[str, str]]:
        """The command line, without the flags of the place where it runs, and the environment of the process.

        :param cmd_flags: instead of this command's own flags.
        """
        options = DbtOptions(**{name: getattr(self, name) for name in _OPTION_NAMES})
        own_flags = self.add_cmd_flags() if cmd_flags is None else cmd_flags
        return (
            dbt_command(self.dbt_executable_path, self.base_cmd, options, own_flags=own_flags),
            self.get_env(context),
        )

    def get_env(self, context: Context | Mapping[str, Any]) -> dict[str, str]:
        """The worker's environment where ``append_env`` says so, Airflow's context variables, then ``env``."""
        given = (dict(os.environ) if self.append_env else {}) | context_variables(context) | (self.env or {})
        return dict(pair for pair in (self._variable(name, value) for name, value in given.items()) if pair)

    def _variable(self, name: Any, value: Any) -> tuple[str, str] | None:
        for part, found in (("name", name), ("value", value)):
            if not isinstance(found, (str, bytes, os.PathLike)):
                self.log.warning("env: %r is left out: its %s is a %s, no text.", name, part, type(found).__name__)
                return None
        return os.fsdecode(name), os.fsdecode(value)

    def execute(self, context: Context, **kwargs: Any) -> Any:
        """Run the command to its end.

        :raises AirflowException: when dbt failed, with its own last lines.
        :raises AirflowSkipException: when dbt ended with ``skip_exit_code``.
        """
        # Nodes that are configured alike share their configuration while the DAG stands: here the task gets its own.
        node = copy.deepcopy({name: each for name, each in self.extra_context.items() if name == NODE_CONFIG})
        context.update({**self.extra_context, **node})  # type: ignore[typeddict-item]
        with self._debugged(context):
            self.build_and_run_cmd(context, **kwargs)

    def _debugged(self, context: Context) -> AbstractContextManager[object]:
        """Within this block the task's memory is looked at, where ``[cosmos] enable_debug_mode`` says so."""
        if not settings.enable_debug_mode:
            return nullcontext()
        from cosmos_venv.operators.memory import memory_tracked  # psutil takes its time

        return memory_tracked(self, context, interval=max(settings.debug_memory_poll_interval_seconds, 0.01))

    def build_and_run_cmd(
        self, context: Context | Mapping[str, Any], cmd_flags: Flags | None = None, **kwargs: Any
    ) -> FullOutputSubprocessResult:
        """Build the command and run it; what ``execute`` does. Interceptors come first: they may change the operator.

        :param kwargs: of ``run_command``.
        """
        for interceptor in self.interceptors:
            interceptor(context, self)
        command, env = self.build_cmd(context, cmd_flags)
        return self.run_command(command, env, context, **kwargs)

    @abstractmethod
    def run_command(
        self, cmd: list[str], env: dict[str, str], context: Context | Mapping[str, Any], **kwargs: Any
    ) -> FullOutputSubprocessResult:
        """Run the command where this mode runs dbt."""


class FullRefreshMixin:
    """Commands that know ``--full-refresh``; a text is what a template rendered to."""

    own_parameters: ClassVar[Mapping[str, Any]] = {"full_refresh": False}
    own_template_fields: ClassVar[tuple[str, ...]] = ("full_refresh",)
    full_refresh: bool | str

    def add_cmd_flags(self) -> list[str]:
        return ["--full-refresh"] if to_boolean(self.full_refresh) else []


class WarningsMixin:
    """Commands that look at data, and so may warn."""

    #: whether the callback is called when nothing has warned, as in Cosmos.
    calls_back_without_warnings: ClassVar[bool] = True
    own_parameters: ClassVar[Mapping[str, Any]] = {"on_warning_callback": None}
    on_warning_callback: Callable[[dict[str, Any]], object] | str | None


class DbtBuildMixin(FullRefreshMixin, WarningsMixin):
    """``dbt build``: seeds, models, snapshots and tests of the selection, in dbt's own order."""

    base_cmd: ClassVar[tuple[str, ...]] = ("build",)
    own_parameters: ClassVar[Mapping[str, Any]] = {"log_format": None}
    ui_color = "#8194E0"
    log_format: str | None

    def add_cmd_flags(self) -> list[str]:
        return [*super().add_cmd_flags(), *(["--log-format", self.log_format] if self.log_format else [])]


class DbtLSMixin:
    """``dbt ls``."""

    base_cmd: ClassVar[tuple[str, ...]] = ("ls",)
    ui_color = "#DBCDF6"


class DbtSeedMixin(FullRefreshMixin):
    """``dbt seed``."""

    base_cmd: ClassVar[tuple[str, ...]] = ("seed",)
    ui_color = "#F58D7E"


class DbtSnapshotMixin:
    """``dbt snapshot``."""

    base_cmd: ClassVar[tuple[str, ...]] = ("snapshot",)
    ui_color = "#964B00"


class DbtSourceMixin(WarningsMixin):
    """``dbt source freshness``."""

    base_cmd: ClassVar[tuple[str, ...]] = ("source", "freshness")
    ui_color = "#34CCEB"


class DbtRunMixin(FullRefreshMixin):
    """``dbt run``."""

    base_cmd: ClassVar[tuple[str, ...]] = ("run",)
    ui_color = "#7352BA"
    ui_fgcolor = "#F4F2FC"


class DbtTestMixin(WarningsMixin):
    """``dbt test``."""

    calls_back_without_warnings: ClassVar[bool] = False
    base_cmd: ClassVar[tuple[str, ...]] = ("test",)
    ui_color = "#8194E0"


class DbtRunOperationMixin:
    """``dbt run-operation``: a macro of the project, with ``args`` as a dict or as YAML."""

    own_parameters: ClassVar[Mapping[str, Any]] = {"macro_name": REQUIRED, "args": None}
    own_template_fields: ClassVar[tuple[str, ...]] = ("args",)
    ui_color = "#8194E0"
    macro_name: str
    args: Mapping[str, Any] | str | None

    @property
    def base_cmd(self) -> tuple[str, ...]:
        return ("run-operation", self.macro_name)

    def add_cmd_flags(self) -> list[str]:
        text = vars_text(self.args)
        return [] if text is None else ["--args", text]


class DbtCompileMixin:
    """``dbt compile``: SQL as the warehouse would get it, in dbt's target folder."""

    base_cmd: ClassVar[tuple[str, ...]] = ("compile",)
    ui_color = "#877c7c"


class DbtDocsMixin:
    """``dbt docs generate``: the project's documentation, in dbt's target folder."""

    base_cmd: ClassVar[tuple[str, ...]] = ("docs", "generate")
    ui_color = "#8194E0"


class DbtCloneMixin(FullRefreshMixin):
    """``dbt clone``."""

    base_cmd: ClassVar[tuple[str, ...]] = ("clone",)
    ui_color = "#83a300"


if not TYPE_CHECKING:
    __getattr__ = name_lookup(__name__)
