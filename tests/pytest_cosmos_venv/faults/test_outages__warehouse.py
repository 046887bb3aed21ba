"""A warehouse behind the proxy is down, for real: PostgreSQL, and a client that speaks its protocol."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from pytest_cosmos_venv import CosmosAirflow
from pytest_cosmos_venv.faults import warehouse_down
from pytest_cosmos_venv.faults.faults import Faults
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
@pytest.mark.cosmos_fault(warehouse_down(seconds=240))
def test_a_warehouse_that_is_down_is_back_after_the_retry_delay(
    psql: Callable[[str], str], cosmos_airflow: CosmosAirflow, cosmos_faults: Faults
) -> None:
    outcome = cosmos_airflow.run(harbor(lambda: psql("select 1")))

    assert outcome.tasks["load"].tries == 2, str(outcome)
    assert outcome.tasks["load"].returned == "1"
    assert [each.place for each in cosmos_faults.happened] == ["connection 1"]
