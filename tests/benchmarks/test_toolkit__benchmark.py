"""The benchmark of the toolkit measures what it names."""

from __future__ import annotations

import pytest

from benchmarks import toolkit

# A pytest run of a whole project.
pytestmark = pytest.mark.long


def test_tests_of_a_dag_are_measured_beside_calls_of_the_fake_dbt() -> None:
    row = toolkit.testing_a_dag(1)

    assert len(row.ours) == len(row.floor) == len(toolkit.AFTER_THE_FIRST)
