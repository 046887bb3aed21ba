"""A warehouse behind the proxy drops connections, for real: PostgreSQL, and clients that speak its protocol."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable, Iterator

import pytest

from pytest_cosmos_venv import CosmosAirflow
from pytest_cosmos_venv.faults import warehouse_down, warehouse_drops_connection
from pytest_cosmos_venv.faults.faults import Faults
from pytest_cosmos_venv.faults.outages import Statements
from tests import postgres_server
from tests.postgres import IS_MISSING, PACKAGES, Postgres, started_postgres
from tests.pytest_cosmos_venv.faults.harbor import harbor

needs_postgres = pytest.mark.skipif(IS_MISSING, reason="no PostgreSQL at .cache/envs/postgres: make test makes it")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with started_postgres(tmp_path_factory.mktemp("postgres") / "log") as postgres:
        yield postgres


@pytest.fixture
def psql(warehouse: Postgres, cosmos_faults: Faults) -> Callable[[str], str]:
    """Runs a statement through the proxy."""
    address = cosmos_faults.warehouse("127.0.0.1", warehouse.port)
    program = PACKAGES / postgres_server.WHEEL / "pginstall" / "bin" / "psql"
    where = [f"--host={address.host}", f"--port={address.port}", f"--username={warehouse.user}", "--dbname=postgres"]

    def run(statement: str) -> str:
        done = subprocess.run(
            [program, *where, "--no-psqlrc", "--tuples-only", "--no-align", "--command", statement],
            env={**os.environ, "PGPASSWORD": warehouse.password},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stdout)
        return done.stdout.strip()

    return run


@needs_postgres
@pytest.mark.long
@pytest.mark.cosmos_fault(warehouse_drops_connection())
def test_a_retry_loads_twice_when_the_answer_was_lost(
    warehouse: Postgres, psql: Callable[[str], str], cosmos_airflow: CosmosAirflow, cosmos_faults: Faults
) -> None:
    warehouse.rows("drop table if exists containers")
    warehouse.rows("create table containers (id int)")

    outcome = cosmos_airflow.run(harbor(lambda: psql("insert into containers values (1)")))

    assert outcome.states == {"load": "success", "report": "success"}, str(outcome)
    assert outcome.tasks["load"].tries == 2
    assert "connection" in outcome.tasks["load"].log
    assert warehouse.rows("select count(*) from containers") == [["2"]]
    assert [each.place for each in cosmos_faults.happened] == ["statement 1"]


@needs_postgres
@pytest.mark.long
@pytest.mark.cosmos_fault(warehouse_down(seconds=240))
def test_a_warehouse_that_is_down_is_back_after_the_retry_delay(
    psql: Callable[[str], str], cosmos_airflow: CosmosAirflow, cosmos_faults: Faults
) -> None:
    outcome = cosmos_airflow.run(harbor(lambda: psql("select 1")))

    assert outcome.tasks["load"].tries == 2, str(outcome)
    assert outcome.tasks["load"].returned == "1"
    assert [each.place for each in cosmos_faults.happened] == ["connection 1"]


def startup(code: int, rest: bytes = b"") -> bytes:
    return struct.pack("!ii", 8 + len(rest), code) + rest


def message(kind: bytes, rest: bytes = b"") -> bytes:
    return kind + struct.pack("!i", 4 + len(rest)) + rest


def test_statements_are_found_in_whatever_pieces_they_come() -> None:
    whole = b"".join(
        [startup(80877103), startup(196608, b"user\0"), message(b"p", b"Q" * 9), message(b"Q", b"select 1\0")]
    ) + message(b"E", b"\0\0\0\0\0")

    for size in (1, 3, len(whole)):
        statements, passed, answers, count = Statements(), b"", b"", 0
        for begin in range(0, len(whole), size):
            more, answer, found = statements.feed(whole[begin : begin + size])
            passed, answers, count = passed + more, answers + answer, count + found
        assert (passed, answers, count) == (whole[8:], b"N", 2)
