"""The parameters that an operator takes, and the checks of their values while its DAG is built."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cosmos_venv.config.validation import is_template, refuse_unknown_names
from cosmos_venv.constants import LAST_SUCCESS
from cosmos_venv.dbt.command import command_flag_texts, flag_texts
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from cosmos_venv.compat import BaseOperator

logger = logging.getLogger(__name__)

OUTPUT_ONLY = ("compiled_sql", "freshness")
"""Template fields that the task itself writes."""

OF_SOME_OPERATORS = frozenset(
    """
    adbc_drivers args asset_uri aws_conn_id azure_conn_id bucket_name cancel_on_kill compiled_nodes connection_id
    container_name continuing deferrable emit_source_assets event_time exponential_backoff folder_dir freshness_callback
    full_refresh gcp_conn_id impersonation_chain is_virtualenv_dir_temporary job_labels location log_format macro_name
    max_wait mode model_unique_id never_fail node_ids nodes notify_owners on_warning_callback owners
    pip_install_options poke_interval poll_interval producer_task_id py_executable py_requirements
    py_system_site_packages required_files selectors silent_fail soft_fail sources starts_on_worker task_nodes
    tasks timeout virtualenv_dir warn_is_fresh
    """.split()
)
"""The parameters of dbt operators of all modes, except the parameters of ``DbtLocalBaseOperator``.

This is a table because the modules of these operators import this module. ``test_parameters`` compares the table with
the operators.
"""

_WARNED_OF: set[tuple[str, str]] = set()
"""Pairs of a DAG's id and the name of an ignored argument: the log has a warning about each pair already."""

_CALLABLES = ("interceptors", "dbt_runner_callbacks")


@functools.cache
def parameters(cls: type[BaseOperator]) -> frozenset[str]:
    """Every keyword that the operator's constructors take, Airflow's included.

    :param cls: the operator's class.
    """
    names = {*getattr(cls, "own_parameters", ()), *getattr(cls, "old_names", ())}
    for base in cls.__mro__:
        if "__init__" in vars(base):
            names |= _names_of(vars(base)["__init__"])
    return frozenset(names - {"self"})


def split_arguments(cls: type[BaseOperator], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The arguments that an operator takes, and the names of arguments that only other dbt operators take.

    :param cls: the operator's class, below ``DbtLocalBaseOperator``.
    :param given: the keywords that are left when its own parameters are taken.
    :raises CosmosValueError: naming the first keyword that no dbt operator takes, and similar parameters.
    """
    taken = parameters(cls)
    others = [name for name in given if name not in taken]
    for name in others:
        if name in OUTPUT_ONLY:
            raise CosmosValueError(f"{name} of {cls.__name__} is written by the task and cannot be given. Drop it.")
        if name not in OF_SOME_OPERATORS:
            refuse_unknown_names(cls.__name__, [name], taken)
    return {name: value for name, value in given.items() if name in taken}, others


def warn_of_ignored(operator: BaseOperator, names: Sequence[str]) -> None:
    """Warn of arguments that an operator does not take, once for each name and DAG.

    :param operator: the operator, which stands in its DAG.
    :param names: the names of the arguments.
    """
    new = [name for name in names if (operator.dag_id, name) not in _WARNED_OF]
    if not new:
        return
    _WARNED_OF.update((operator.dag_id, name) for name in new)
    logger.warning(
        "%s ignores %s, which other dbt operators take. The DAG %s gets no further warning of that.",
        type(operator).__name__,
        ", ".join(new),
        operator.dag_id,
    )


def refuse_wrong_shapes(given: Mapping[str, Any]) -> None:
    """Refuse values that can be known to be wrong while the DAG is built.

    :param given: the arguments of the operator, by name.
    :raises CosmosValueError: names the parameter and what it must be.
    """
    for name in _CALLABLES:
        if given[name] is not None and not (isinstance(given[name], list | tuple) and all(map(callable, given[name]))):
            raise CosmosValueError(f"{name}={given[name]!r} must be a list of callables.")
    refuse_no_callbacks("callback", given["callback"])
    _refuse_no_state(given["state"], given["state_conn_id"])
    if not isinstance(given["run_artifacts"], str | None):
        raise CosmosValueError(
            f"run_artifacts={given['run_artifacts']!r} of an operator is no id of a group. Give "
            "RenderConfig(run_artifacts=True), which gives it to the tasks."
        )
    run_params = given["run_params"]
    if run_params is not None and not (isinstance(run_params, Mapping) and "task_id" in run_params):
        raise CosmosValueError(
            f"run_params={run_params!r} of an operator has no 'task_id' of a task that evaluates the selection. Give "
            "run_params to DbtDag or DbtTaskGroup, which make that task."
        )


def refuse_no_callbacks(parameter: str, value: object) -> None:
    """Refuse anything but None, a callable, an import path, or a list of these.

    :param parameter: the name of the parameter, for the message.
    :param value: the value that was given.
    :raises CosmosValueError: naming the parameter and the value.
    """
    for each in value if isinstance(value, list | tuple) else [value]:
        if each is None or callable(each) or (isinstance(each, str) and "." in each.strip(".")):
            continue
        raise CosmosValueError(
            f"{parameter}={each!r} is neither a callable nor the import path of one, such as 'my_package.notify'."
        )


def flags_as_texts(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags of an operator as its own copy, each path and number as a text: Airflow renders and shows texts.

    A value that is known only when the task runs stays as it is: a template, or the result of another task.

    :param given: the arguments of the operator, by name.
    :returns: ``dbt_cmd_flags`` and ``dbt_cmd_global_flags``.
    :raises CosmosValueError: names the parameter and what it must be.
    """
    flags = [] if given["dbt_cmd_flags"] in (None, "") else given["dbt_cmd_flags"]
    if isinstance(flags, Mapping | list | tuple) or (isinstance(flags, str) and not is_template(flags)):
        flags = command_flag_texts("dbt_cmd_flags", flags)
    global_flags = flag_texts("dbt_cmd_global_flags", given["dbt_cmd_global_flags"] or None)
    return {"dbt_cmd_flags": flags, "dbt_cmd_global_flags": global_flags}


def callables(parameter: str, value: Any) -> list[Callable[..., object]]:
    """The callables that a parameter names, import paths imported.

    :param parameter: the name of the parameter, for messages.
    :param value: None, a callable, an import path, or a list of these.
    :raises CosmosValueError: when a path leads to nothing that can be called.
    """
    refuse_no_callbacks(parameter, value)
    each = value if isinstance(value, list | tuple) else [value]
    return [_imported(parameter, one) if isinstance(one, str) else one for one in each if one is not None]


def _names_of(function: Any) -> set[str]:
    """The names of a function's parameters."""
    # inspect.signature gives the same names, but takes 200 times as long: a worker would pay for that with each task.
    code = getattr(inspect.unwrap(function), "__code__", None)
    return set(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]) if code else set()


def _refuse_no_state(state: object, conn_id: object) -> None:
    if state is not None and not str(state).strip():
        raise CosmosValueError(f"state={state!r} is empty. Name a folder, a URL, or {LAST_SUCCESS!r}, or leave it out.")
    if conn_id is not None and "://" not in str(state) and not is_template(str(state)):
        raise CosmosValueError(
            f"state_conn_id={conn_id!r} is for a URL of object storage, and state={state!r} is none. Drop it; for "
            f"{LAST_SUCCESS!r} there is [cosmos_venv] state_path_conn_id."
        )


def _imported(parameter: str, path: str) -> Callable[..., object]:
    module, _, name = path.rpartition(".")
    try:
        found: object = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise CosmosValueError(f"{parameter}={path!r} cannot be imported: {error}.") from error
    if not callable(found):
        raise CosmosValueError(f"{parameter}={path!r} is a {type(found).__name__} and cannot be called.")
    return found
