"""A virtualenv task that is killed: dbt and what it started are ended, whatever they do about it."""

from __future__ import annotations

import pytest

from cosmos_venv.compat import AirflowException
from tests.kit import DbtCalls, MakeOperator


def test_a_kill_before_the_command_begins_is_not_lost_and_counts_once(
    make_operator: MakeOperator, dbt_calls: DbtCalls
) -> None:
    """Airflow may kill while it still renders templates."""
    operator = make_operator()

    operator.on_kill()
    with pytest.raises(AirflowException, match="Task run was killed"):
        operator.execute({})
    operator.execute({})
    operator.on_kill()
    operator.execute({})

    assert len(dbt_calls()) == 2
