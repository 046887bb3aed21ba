"""An outage of the package index: it ends by its length, and a retry after it succeeds. On Airflow 2 and 3."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

import pytest

from pytest_cosmos_venv import CosmosAirflow, CosmosDbt
from pytest_cosmos_venv.environments.package_index import PackageIndex
from pytest_cosmos_venv.faults import index_down
from pytest_cosmos_venv.faults.faults import Faults
from tests.pytest_cosmos_venv.faults.harbor import harbor


def ask(index: PackageIndex) -> int:
    """Ask for a page, as an installer does."""
    with urllib.request.urlopen(f"{index.url}dbt-core/", timeout=30) as answer:  # noqa: S310 - on loopback
        return int(answer.status)


def is_down(index: PackageIndex) -> bool:
    try:
        ask(index)
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError):
        return True
    return False


@pytest.mark.cosmos_fault(index_down(request=2, requests=3))
def test_an_outage_lasts_for_some_requests(cosmos_dbt: CosmosDbt, cosmos_faults: Faults) -> None:
    assert [is_down(cosmos_dbt.index) for _ in range(6)] == [False, True, True, True, False, False]
    assert [request.status for request in cosmos_dbt.index.requests] == [200, 0, 0, 0, 200, 200]
    assert [(each.what, each.place, each.task_id) for each in cosmos_faults.happened] == [
        ("index_down", "request 2", None)
    ]


@pytest.mark.cosmos_fault(index_down(seconds=240))
def test_a_retry_after_its_delay_finds_the_index_again(
    cosmos_dbt: CosmosDbt, cosmos_airflow: CosmosAirflow, cosmos_faults: Faults
) -> None:
    outcome = cosmos_airflow.run(harbor(lambda: ask(cosmos_dbt.index)))

    assert outcome.tasks["load"].tries == 2, str(outcome)
    assert outcome.tasks["load"].returned == 200
    assert [(each.task_id, each.try_number) for each in cosmos_faults.happened] == [("load", 1)]


@pytest.mark.cosmos_fault(index_down(seconds=30 * 60))
def test_an_outage_ends_by_the_clock_of_the_test(cosmos_dbt: CosmosDbt, cosmos_airflow: CosmosAirflow) -> None:
    assert is_down(cosmos_dbt.index)

    cosmos_airflow.clock.move(29 * 60)
    assert is_down(cosmos_dbt.index)

    cosmos_airflow.clock.move(90)
    assert not is_down(cosmos_dbt.index)
