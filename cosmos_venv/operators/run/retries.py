"""Whether Airflow tries a task again whose dbt has failed (``retry_on``)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from cosmos_venv.compat import AirflowException, AirflowFailException, BaseSensorOperator
from cosmos_venv.dbt.failure_kinds import FailureKind
from cosmos_venv.exceptions import CosmosDbtRunError, CosmosValueError

# Other exceptions are no failures of dbt, or have already decided about a retry.
_FAILURES = (AirflowException, CosmosDbtRunError)


def judged(error: Exception, retry_on: Collection[str], kinds: Collection[FailureKind]) -> Exception:
    """Return the error with which a task fails. Where ``retry_on`` says so, Airflow does not retry after this error.

    When several nodes have failed, another try follows if one of them may succeed.

    :param error: with which the task would fail.
    :param retry_on: the kinds of failures for which there is another try; empty: Airflow's ``retries`` count alone.
    :param kinds: the kinds of the present failures.
    :returns: ``error`` or a new error, whose last line gives the reason.
    """
    if not retry_on or type(error) not in _FAILURES:
        return error
    again = sorted(kind.value for kind in kinds if kind.value in retry_on)
    given = f"retry_on={sorted(retry_on)}"
    if again:
        return type(error)(f"{error}\nAnother try may succeed, where retries are left: {given} has {_joined(again)}.")
    which = _joined(sorted(kind.value for kind in kinds))
    return AirflowFailException(
        f"{error}\nNo other try: the kind of the failure is {which}, which {given} does not name."
    )


def retried_kinds(
    cls: type, given: str | Collection[str] | None, setting: str, others: Mapping[str, Any]
) -> tuple[str, ...]:
    """Return the kinds of ``retry_on``.

    A retry policy of the user (Airflow 3.3) decides alone. A sensor has no kinds: with ``soft_fail``, Airflow before
    3.3 skips a sensor whose failure is not retried.

    :param cls: the class of the operator.
    :param given: the argument ``retry_on``: a kind, or several; None: the setting counts.
    :param setting: ``[cosmos_venv] retry_on``: kinds, separated by spaces or commas.
    :param others: the arguments for Airflow's own constructor.
    :raises CosmosValueError: for an unknown kind.
    """
    has_policy = any(each.get("retry_policy") for each in (others, others.get("default_args") or {}))
    kinds = _kinds("[cosmos_venv] retry_on", setting.replace(",", " ").split())
    if given is not None:
        kinds = _kinds("retry_on", [given] if isinstance(given, str) else given)
    return () if has_policy or issubclass(cls, BaseSensorOperator) else kinds


def _kinds(name: str, given: object) -> tuple[str, ...]:
    known = [kind.value for kind in FailureKind]
    words = [*given] if isinstance(given, list | tuple | set | frozenset) else [given]
    unknown = next((word for word in words if word not in known), None)
    if unknown is not None:
        raise CosmosValueError(f"{name}={given!r}: {unknown!r} is no kind of failure. Known are: {known}.")
    return tuple(map(str, words))


def _joined(words: Collection[str]) -> str:
    return " and ".join(repr(word) for word in words)
