"""An outage of the warehouse: it ends by its length, and a retry after it succeeds. On Airflow 2 and 3."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator

import pytest

from pytest_cosmos_venv import CosmosAirflow
from pytest_cosmos_venv.faults import warehouse_down
from pytest_cosmos_venv.faults.faults import Faults
from tests.pytest_cosmos_venv.faults.harbor import harbor


class Warehouse(socketserver.BaseRequestHandler):
    """Says two letters to each client."""

    def handle(self) -> None:
        self.request.sendall(b"up")


@pytest.fixture
def ask(cosmos_faults: Faults) -> Iterator[Callable[[], str]]:
    """Asks a warehouse through the proxy."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Warehouse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = cosmos_faults.warehouse(*server.server_address)

        def answer() -> str:
            with socket.create_connection((address.host, address.port), timeout=30) as client:
                return client.recv(2).decode() or "closed"

        yield answer
        server.shutdown()


def is_down(ask: Callable[[], str]) -> bool:
    try:
        return ask() != "up"
    except ConnectionError:
        return True


@pytest.mark.cosmos_fault(warehouse_down(connections=3))
def test_an_outage_lasts_for_some_connections(ask: Callable[[], str], cosmos_faults: Faults) -> None:
    assert [is_down(ask) for _ in range(5)] == [True, True, True, False, False]
    assert [(each.what, each.place, each.task_id) for each in cosmos_faults.happened] == [
        ("warehouse_down", "connection 1", None)
    ]


@pytest.mark.cosmos_fault(warehouse_down(seconds=240))
def test_a_retry_after_its_delay_finds_the_warehouse_again(
    ask: Callable[[], str], cosmos_airflow: CosmosAirflow, cosmos_faults: Faults
) -> None:
    outcome = cosmos_airflow.run(harbor(ask))

    assert outcome.tasks["load"].tries == 2, str(outcome)
    assert outcome.tasks["load"].returned == "up"
    assert [(each.task_id, each.try_number) for each in cosmos_faults.happened] == [("load", 1)]


@pytest.mark.cosmos_fault(warehouse_down(seconds=30 * 60))
def test_an_outage_ends_by_the_clock_of_the_test(ask: Callable[[], str], cosmos_airflow: CosmosAirflow) -> None:
    assert is_down(ask)

    cosmos_airflow.clock.move(29 * 60)
    assert is_down(ask)

    cosmos_airflow.clock.move(90)
    assert not is_down(ask)
