"""The PostgreSQL of the tests ends with the process that started it, however that one ends."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from tests.postgres import IS_MISSING, Postgres

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(
    IS_MISSING and os.environ.get("CI") != "true", reason="no PostgreSQL in .cache/envs: make test makes it"
)

STARTER = """
    import os, pathlib, psutil, signal, sys
    from tests.postgres import started_postgres

    with started_postgres(pathlib.Path(sys.argv[1])) as server:
        assert server.rows("select 1") == [["1"]]
        (keeper,) = psutil.Process().children()
        (postgres,) = keeper.children()  # its own children come and go
        print(keeper.pid, postgres.pid, flush=True)
        sys.stdin.read()
"""


@pytest.mark.long
@pytest.mark.parametrize("ends", ["by itself", "killed"])
def test_nothing_is_left_of_a_server_whose_starter_has_ended(ends: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(STARTER), str(tmp_path / "log")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        processes = [psutil.Process(int(pid)) for pid in starter.stdout.readline().split()]
        folder = Path(processes[1].cwd())
        if ends == "killed":
            starter.kill()
        else:
            starter.communicate()

    _, alive = psutil.wait_procs(processes, timeout=30)
    assert alive == []
    assert folder.name == "data"
    assert not folder.parent.exists()
    assert "is shut down" in (tmp_path / "log").read_text()


def test_nobody_gets_in_without_the_password(postgres: Postgres) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        Postgres(postgres.port, "another").rows("select 1")
