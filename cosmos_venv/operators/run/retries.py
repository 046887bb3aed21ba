"""Whether Airflow tries a task again whose dbt has failed (``retry_on``)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from cosmos_venv.compat import HAS_RETRY_POLICIES, AirflowException, LastingFailure, policy_against
from cosmos_venv.dbt.failure_kinds import FailureKind, kinds_of
from cosmos_venv.dbt.log_lines import NodeOutcome
from cosmos_venv.exceptions import CosmosDbtRunError, CosmosValueError

# Others are no failures of dbt, or have decided already.
_FAILURES = (AirflowException, CosmosDbtRunError)


def judged(error: Exception, retry_on: Collection[str], outcomes: Mapping[str, NodeOutcome]) -> Exception:
    """Return the error with which a task fails: one that Airflow does not try again where ``retry_on`` says so.

    Where several nodes have failed, one that may succeed is enough for another try.

    :param error: with which the task would fail.
    :param retry_on: the kinds of failures for which there is another try; empty: Airflow's ``retries`` count alone.
    :param outcomes: what became of the nodes, by unique id; empty where that is not known.
    :returns: ``error`` or another one, whose last line gives the reason.
    """
    if not retry_on or type(error) not in _FAILURES:
        return error
    kinds = kinds_of(outcomes, str(error))
    again = sorted(kind.value for kind in kinds if kind.value in retry_on)
    given = f"retry_on={sorted(retry_on)}"
    if again:
        return type(error)(f"{error}\nAnother try may succeed, where retries are left: {given} has {_joined(again)}.")
    which = _joined(sorted(kind.value for kind in kinds))
    return LastingFailure(f"{error}\nNo other try: the failure is one of {which}, and {given} has not that kind.")


def policy(kinds: Collection[str]) -> dict[str, Any]:
    """Return the argument ``retry_policy`` of an operator; nothing where Airflow has no policies, or none is needed.

    :param kinds: of failures for which there is another try.
    """
    return {"retry_policy": policy_against(LastingFailure)} if kinds and HAS_RETRY_POLICIES else {}


def retry_kinds(given: str | Collection[str] | None, default: str) -> tuple[str, ...]:
    """Return the kinds of failures for which a task is tried again; empty: all, as Airflow does.

    :param given: the argument ``retry_on``: a kind, or several; None: the setting counts.
    :param default: of the setting ``retry_on``: kinds, separated by spaces or commas.
    :raises CosmosValueError: for a kind that there is not.
    """
    words = default.replace(",", " ").split() if given is None else [given] if isinstance(given, str) else given
    known = [kind.value for kind in FailureKind]
    unknown = next((word for word in words if word not in known), None)
    if unknown is not None:
        raise CosmosValueError(f"retry_on={given or default!r}: {unknown!r} is no kind of failure. Known are: {known}.")
    return tuple(words)


def _joined(words: Collection[str]) -> str:
    return " and ".join(repr(word) for word in words)
