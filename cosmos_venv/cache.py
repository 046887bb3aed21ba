"""Cosmos's functions that clean caches, for a DAG that calls them once a week."""

from __future__ import annotations

from datetime import timedelta

from cosmos_venv.managed import caches

__all__ = [
    "delete_unused_dbt_cache",
    "delete_unused_dbt_ls_cache",
    "delete_unused_dbt_ls_remote_cache_files",
    "delete_unused_dbt_remote_cache_files",
    "delete_unused_dbt_yaml_selectors_cache",
    "delete_unused_dbt_yaml_selectors_remote_cache_files",
]

_MONTH = timedelta(days=30)
_SECONDS = 300.0  # a folder has some hundred files


def delete_unused_dbt_ls_cache(
    max_age_last_usage: timedelta = _MONTH,
    session: object = None,  # noqa: ARG001
    cache_type: str = "cosmos",  # noqa: ARG001
) -> int:
    """Delete the answers on this machine that no parse has used for ``max_age_last_usage``, and return their number.

    Other machines keep theirs. Airflow Variables that share answers stay: one Variable holds the latest answer to a
    question.

    :param max_age_last_usage: how long ago a parse must have used an answer that is kept.
    :param session: nothing reads it; it exists because Cosmos has it.
    :param cache_type: nothing reads it: there is no cache of another type.
    """
    files = caches.kept_listings()
    return 0 if files is None else files.remove_unused(max_age_last_usage.total_seconds())


def delete_unused_dbt_ls_remote_cache_files(
    max_age_last_usage: timedelta = _MONTH,
    session: object = None,  # noqa: ARG001
    cache_type: str = "cosmos",  # noqa: ARG001
) -> int:
    """Delete the answers in ``[cosmos] remote_cache_dir`` that are older than the limit, and return their number.

    A machine that has fetched an answer keeps its copy; another machine asks dbt again and writes the answer anew.

    :param max_age_last_usage: the age of the oldest answer that is kept: a storage does not note who reads a file.
    :param session: nothing reads it; it exists because Cosmos has it.
    :param cache_type: nothing reads it: there is no cache of another type.
    :raises RemoteError: when the storage does not answer.
    """
    files = caches.remote_listings()
    return 0 if files is None else files.remove_older(max_age_last_usage.total_seconds(), seconds=_SECONDS)


def delete_unused_dbt_yaml_selectors_cache(
    max_age_last_usage: timedelta = _MONTH,  # noqa: ARG001
    session: object = None,  # noqa: ARG001
) -> int:
    """Delete nothing and return 0: YAML selectors are read from the manifest, and there is no cache of them.

    :param max_age_last_usage: nothing reads it; it exists because Cosmos has it.
    :param session: nothing reads it; it exists because Cosmos has it.
    """
    return 0


delete_unused_dbt_yaml_selectors_remote_cache_files = delete_unused_dbt_yaml_selectors_cache
delete_unused_dbt_cache = delete_unused_dbt_ls_cache
delete_unused_dbt_remote_cache_files = delete_unused_dbt_ls_remote_cache_files
