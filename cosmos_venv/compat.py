"""Which Airflow is this? The only file that asks; everything else takes Airflow's names from here.

Airflow 2.10 and later, and 3.x. Importing this module imports Airflow.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import airflow

AIRFLOW_VERSION: str = airflow.__version__
_SHORTEST_MASKED = 5
IS_AIRFLOW_3 = not AIRFLOW_VERSION.startswith("2.")
ASSET_URIS_HAVE_SLASHES = IS_AIRFLOW_3
ASSETS_NEED_AN_ALIAS = IS_AIRFLOW_3
"""Whether a running task can give assets through an alias only, which Airflow then learns from the task itself."""


def _first(name: str, *modules: str) -> Any:
    """The name from the first of these modules that has it: newest home first, so that no deprecated one is asked."""
    for module in modules:
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"Airflow {AIRFLOW_VERSION} has {name} in none of {', '.join(modules)}")


if TYPE_CHECKING:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG, BaseOperator, Connection, Context, TaskGroup
    from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException, AirflowSkipException
else:
    DAG = _first("DAG", "airflow.sdk", "airflow.models.dag")
    TaskGroup = _first("TaskGroup", "airflow.sdk", "airflow.utils.task_group")
    BaseOperator = _first("BaseOperator", "airflow.sdk", "airflow.models.baseoperator")
    EmptyOperator = _first("EmptyOperator", "airflow.providers.standard.operators.empty", "airflow.operators.empty")
    AirflowException = _first("AirflowException", "airflow.sdk.exceptions", "airflow.exceptions")
    AirflowSkipException = _first("AirflowSkipException", "airflow.sdk.exceptions", "airflow.exceptions")
    AirflowNotFoundException = _first("AirflowNotFoundException", "airflow.sdk.exceptions", "airflow.exceptions")

__all__ = [
    "AIRFLOW_VERSION",
    "ASSETS_NEED_AN_ALIAS",
    "ASSET_URIS_HAVE_SLASHES",
    "DAG",
    "IS_AIRFLOW_3",
    "AirflowException",
    "AirflowNotFoundException",
    "AirflowSkipException",
    "BaseOperator",
    "EmptyOperator",
    "TaskGroup",
    "add_outlets",
    "asset",
    "asset_alias",
    "asset_events",
    "context_variables",
    "dag_arguments",
    "dags_folder",
    "dags_made_by",
    "get_connection",
    "let_map",
    "looks_for_words",
    "mask_in_logs",
    "object_storage_path",
    "openlineage_namespace",
    "prepare_virtualenv",
    "show_rendered_fields",
    "to_boolean",
    "venv_install_method",
]


def get_connection(conn_id: str) -> Connection:
    """The Airflow Connection of that id.

    :raises AirflowNotFoundException: when there is none.
    """
    connection: Connection = _first("BaseHook", "airflow.sdk", "airflow.hooks.base").get_connection(conn_id)
    return connection


def mask_in_logs(secret: str) -> None:
    """Have Airflow show ``***`` for the text in the task's log, which it does for a Connection's password anyway.

    A text of fewer than five letters is left: Airflow masks none of these, and would say so each time.
    """
    if len(secret) < _SHORTEST_MASKED:
        return
    homes = ("airflow.sdk.log", "airflow.sdk.execution_time.secrets_masker", "airflow.utils.log.secrets_masker")
    _first("mask_secret", *homes)(secret)


def context_variables(context: Context | Mapping[str, Any]) -> dict[str, str]:
    """What Airflow itself exports of a task's context (``AIRFLOW_CTX_DAG_ID`` and so on)."""
    if not context:
        return {}
    export = _first("context_to_airflow_vars", "airflow.sdk.execution_time.context", "airflow.utils.operator_helpers")
    return dict(export(context, in_env_var_format=True))


def let_map(cls: type[BaseOperator], names: Iterable[str]) -> None:
    """Let ``partial`` and ``expand`` take these parameters of the operator, which no constructor's signature has.

    A class without a wrapper of Airflow's own shares the one of its first base; then that one's ``partial`` takes them
    too, and its constructor refuses them.
    """
    cls.__init__._BaseOperatorMeta__param_names |= set(names)  # type: ignore[attr-defined]


def show_rendered_fields(operator: BaseOperator, context: Context | Mapping[str, Any]) -> None:
    """Let Airflow show the operator's template fields as they are now, and not as they were before it ran."""
    if IS_AIRFLOW_3:
        operator.overwrite_rtif_after_execution = True
        return
    if "ti" in context:
        fields = import_module("airflow.models.renderedtifields").RenderedTaskInstanceFields
        fields(ti=context["ti"], render_templates=False).write()


def asset(uri: str) -> Any:
    """The asset (Airflow 2: dataset) of that URI. Airflow 3 keeps the URI as it is given as the asset's name.

    :raises ValueError: when Airflow, or the provider of its scheme, does not take the URI.
    """
    if IS_AIRFLOW_3:
        return import_module("airflow.sdk").Asset(uri)
    return import_module("airflow.datasets").Dataset(uri)


def asset_alias(name: str) -> Any:
    """The asset alias (Airflow 2: dataset alias) of that name."""
    if IS_AIRFLOW_3:
        return import_module("airflow.sdk").AssetAlias(name)
    return import_module("airflow.datasets").DatasetAlias(name)


def add_outlets(operator: BaseOperator, outlets: Iterable[Any]) -> None:
    """Let the operator have these outlets after its own, each once."""
    # A new list: tasks of a DAG may have been given the same one. Not by a set: Airflow 2 has entities without a hash.
    own = list(operator.outlets or [])
    operator.outlets = [*own, *(outlet for outlet in outlets if outlet not in own)]


def asset_events(context: Context | Mapping[str, Any], alias: Any) -> Any:
    """Where assets are added that the running task has updated; None where nobody asks for them."""
    events = context.get("outlet_events")
    if events is None:
        return None
    if not IS_AIRFLOW_3:
        _store_alias(alias.name)
    return events[alias]


def _store_alias(name: str) -> None:
    """Airflow 2 fails a task whose alias it does not know: it knows those of parsed DAGs, and no mapped task's."""
    model = import_module("airflow.models.dataset").DatasetAliasModel
    try:
        with import_module("airflow.utils.session").create_session() as session:
            if session.query(model).filter(model.name == name).first() is None:
                session.add(model(name=name))
    except import_module("sqlalchemy.exc").IntegrityError:
        return  # another task of the same mapping was first


def openlineage_namespace() -> str | None:
    """Under which namespace Airflow's OpenLineage provider tells of tasks; None where it is not active."""
    from importlib.util import find_spec

    try:
        if find_spec("airflow.providers.openlineage") is None:
            return None
    except ImportError:
        return None
    conf = import_module("airflow.providers.openlineage.conf")
    return None if conf.is_disabled() else str(conf.namespace())


def object_storage_path(url: str, conn_id: str | None) -> Any:
    """A path in whatever storage Airflow knows by that URL; a local path, too.

    :param conn_id: of the connection; None: the default one of that storage.
    """
    return _first("ObjectStoragePath", "airflow.sdk", "airflow.io.path")(url, conn_id=conn_id)


def to_boolean(value: object) -> bool:
    """A boolean, or the text that a template rendered to, as Airflow reads it: true, t, yes, y, 1, on."""
    if isinstance(value, str):
        from airflow.utils.strings import to_boolean as read

        return read(value.strip())
    return bool(value)


def dags_folder() -> Path:
    """Airflow's ``[core] dags_folder``, which it puts on ``sys.path``."""
    from airflow.configuration import conf

    return Path(conf.get("core", "dags_folder"))


def looks_for_words() -> bool:
    """Whether Airflow looks only into files in which certain words occur: ``[core] dag_discovery_safe_mode``."""
    from airflow.configuration import conf

    return bool(conf.getboolean("core", "dag_discovery_safe_mode", fallback=True))


def venv_install_method() -> Literal["auto", "uv", "pip"]:
    """What Airflow's own ``[standard] venv_install_method`` says, where it exists; ``auto`` elsewhere."""
    from airflow.configuration import conf

    said = str(conf.get("standard", "venv_install_method", fallback="auto")).strip().lower()
    return "uv" if said == "uv" else "pip" if said == "pip" else "auto"


def prepare_virtualenv(directory: str, *, python: str, system_site_packages: bool, requirements: Sequence[str]) -> None:
    """Make a virtual environment as Airflow does it, with uv or pip, each command and its output in the log.

    :param requirements: words for ``pip install``.
    :raises subprocess.CalledProcessError: when a command fails.
    """
    modules = ("airflow.providers.standard.utils.python_virtualenv", "airflow.utils.python_virtualenv")
    _first("prepare_virtualenv", *modules)(
        venv_directory=directory,
        python_bin=python,
        system_site_packages=system_site_packages,
        requirements=list(requirements),
    )


def dag_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a DAG as Airflow takes them: ``schedule_interval`` became ``schedule`` (in Airflow 2.4)."""
    taken = dict(arguments)
    if "schedule_interval" in taken:
        taken.setdefault("schedule", taken.pop("schedule_interval"))
        warnings.warn("schedule_interval is called schedule in Airflow now", DeprecationWarning, stacklevel=3)
    return taken


def dags_made_by(module: ModuleType, execute: Callable[[ModuleType], object]) -> list[DAG]:
    """The DAGs that executing a module makes, by id, as Airflow's importer collects them.

    They are the module's globals, and what a ``with DAG(...)`` or the call of an ``@dag`` function registers.

    :param module: stands in ``sys.modules``.
    :param execute: what makes the module's DAGs; its exceptions pass.
    """
    context = _first("DagContext", "airflow.sdk.definitions._internal.contextmanager", "airflow.models.dag")
    context.autoregistered_dags.clear()
    context.current_autoregister_module_name = module.__name__
    try:
        execute(module)
        registered = [dag for dag, _ in context.autoregistered_dags]
    finally:
        context.current_autoregister_module_name = None
        context.autoregistered_dags.clear()
    found = [value for value in vars(module).values() if isinstance(value, DAG)] + registered
    return sorted({id(dag): dag for dag in found}.values(), key=lambda dag: dag.dag_id)
