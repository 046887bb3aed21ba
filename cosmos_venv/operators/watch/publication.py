"""What a producer tells tasks on other hosts: a text, in object storage or in an XCom.

Where ``[cosmos] remote_cache_dir`` and a key are set, the text is written there while dbt runs, signed with the key,
and into the XCom when the try ends: a host that cannot read the storage learns late what has happened, and not at all
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cosmos_venv import compat
from cosmos_venv.operators.run.journal import Publish, journal_key
from cosmos_venv.operators.run.journal_lines import TryRecord, merged, unpacked
from cosmos_venv.operators.run.shared_record import record_of_watched

XCOM = "dbt_journal"
"""Key of the XCom of the producer."""


def publisher(context: Mapping[str, Any]) -> Publish | None:
    """What writes the text of the producer; None where Airflow does not run it.

    :param context: Airflow's context of the producer.
    """
    ti: Any = context.get("ti")
    if ti is None:
        return None
    key = journal_key(context, ti.task_id)
    stored = None if key is None else record_of_watched(key)

    def publish(text: str, *, is_end: bool) -> None:
        try:
            if stored is not None:
                stored.write(text)
        finally:
            if stored is None or is_end:
                ti.xcom_push(XCOM, text)

    return publish


def published(key: str, *, task_id: str, is_over: bool, **place: Any) -> list[TryRecord]:
    """What a producer has told of each of its tries.

    :param key: of its journal.
    :param task_id: of its task.
    :param is_over: whether Airflow says that it is over.
    :param **place: ``dag_id``, ``run_id`` and ``map_index`` of the task.
    :raises Exception: whatever Airflow raises where the XCom cannot be read.
    """
    found: list[TryRecord] = []
    problem: Exception | None = None
    if (stored := record_of_watched(key)) is not None:
        try:
            found = unpacked(key, stored.read())
        except Exception as error:  # noqa: BLE001 - whatever a store raises: the XCom has it at the end
            problem = error
        if found and (found[-1].end or not is_over):
            return found
    in_xcom = unpacked(key, compat.xcom(XCOM, task_id=task_id, **place) or "")
    if problem is not None and not in_xcom:
        raise problem
    return merged(found, in_xcom)
