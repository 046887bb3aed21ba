"""The SQL that the XCom of a watching task shows."""

from __future__ import annotations

from pathlib import Path

from cosmos_venv.dbt.log_lines import NodeOutcome
from cosmos_venv.operators.run.journal_record import JournalFiles
from cosmos_venv.operators.watch.trigger import xcoms_of


def test_a_task_of_many_models_shows_no_more_sql_than_a_task_of_one_may(tmp_path: Path) -> None:
    """A batch of 500 models put 32 MB into one row of the metadata database."""
    journal = JournalFiles(tmp_path)
    outcomes = {f"model.shop.m{number}": NodeOutcome("success") for number in range(3)}
    journal.sql.update(dict.fromkeys(outcomes, f"select '{'x' * 40000}'"))

    sql = xcoms_of(outcomes, journal, "key")["compiled_sql"]

    assert len(sql) == 65_536
