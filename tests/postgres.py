"""A real PostgreSQL on loopback, which the tests start and stop."""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests import postgres_server

ENVIRONMENT = Path(__file__).resolve().parents[1] / ".cache" / "envs" / "postgres"
PACKAGES = next(ENVIRONMENT.glob("lib/python3.*/site-packages"), ENVIRONMENT)
IS_MISSING = not (PACKAGES / postgres_server.WHEEL).is_dir()
DATABASE = "postgres"


@dataclass(frozen=True)
class Postgres:
    """A running server with one user, who must log in with the password."""

    port: int
    password: str = field(repr=False)
    user: str = postgres_server.USER
    database: str = DATABASE

    @property
    def connection(self) -> str:
        """The value of an ``AIRFLOW_CONN_…`` variable."""
        where = {"host": "127.0.0.1", "port": self.port, "schema": self.database}
        return json.dumps({"conn_type": "postgres", "login": self.user, "password": self.password, **where})

    @property
    def address(self) -> str:
        """The address of its database, as SQLAlchemy reads it, without the driver."""
        return f"{self.user}:{self.password}@127.0.0.1:{self.port}/{self.database}"

    def apart(self, name: str) -> Postgres:
        """A new, empty database on the same server.

        :param name: the beginning of the database's name, which need not be unique.
        """
        database = f"{name}_{secrets.token_hex(4)}"
        self.rows(f"create database {database}")
        return replace(self, database=database)

    def rows(self, query: str) -> list[list[str]]:
        """The rows that a query finds, as texts.

        :raises subprocess.CalledProcessError: when it fails.
        """
        psql = PACKAGES / postgres_server.WHEEL / "pginstall" / "bin" / "psql"
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--username", self.user, "--dbname", self.database]
        done = subprocess.run(
            [psql, *where, "--no-password", "--no-psqlrc", "--csv", "--tuples-only", "--command", query],
            env={**os.environ, "PGPASSWORD": self.password},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return list(csv.reader(io.StringIO(done.stdout)))


@contextmanager
def started_postgres(log: Path) -> Iterator[Postgres]:
    """Start a server with an empty database, and yield it.

    :param log: the file for the server's log.
    """
    password = secrets.token_hex(16)
    with (
        log.open("w") as said,
        subprocess.Popen(
            [sys.executable, "-S", postgres_server.__file__, str(PACKAGES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,  # Ctrl-C must reach pytest only, which then ends the server
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{password}\n")
        process.stdin.flush()
        port = process.stdout.readline()
        assert port, f"PostgreSQL has not started:\n{log.read_text()}"
        yield Postgres(int(port), password)
