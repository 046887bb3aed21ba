"""A judge that is interrupted itself, and not the process that started it, ends what its fixtures have started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.conformance.test_session import wait_for_text
from tests.waiting import wait_until

pytest_plugins = ["pytester"]

# In place of the servers of Airflow stands one that passes the signal on, as a supervisor tells all processes at once.
SERVERS = """
import os
import signal
import sys
from pathlib import Path

import pytest

from pytest_cosmos_venv.airflow_servers import running_server

SERVER = '''
import os, signal, sys

def end(*_):
    for each in signals:
        os.kill(os.getppid(), each)
    sys.exit()

signals = [signal.SIGTERM, signal.SIGINT]
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
while True:
    signal.pause()
'''


@pytest.fixture(scope="session", autouse=True)
def server():
    folder = Path(os.environ["FOLDER"])
    with running_server([sys.executable, "-c", SERVER], environment=os.environ, log=folder / "server") as process:
        yield process.pid
    (folder / "ended").touch()


@pytest.fixture(autouse=True)
def _waits(server):
    (Path(os.environ["FOLDER"]) / f"waits-{os.getpid()}").touch()
    (Path(os.environ["FOLDER"]) / "started").write_text(f"{os.getpid()} {server}\\n")
    while True:
        signal.pause()
"""


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_judge_that_is_told_to_end_ends_its_servers(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    pytester.makepyfile(cheap_servers=SERVERS)
    monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=os.pathsep)
    monkeypatch.setenv("FOLDER", str(pytester.path))
    command = [sys.executable, "-m", "pytest", "--cosmos-conformance", "--cosmos-implementation=cosmos_venv"]
    output = pytester.path / "output"
    with (
        output.open("wb") as said,
        subprocess.Popen([*command, "--cosmos-servers", "-p", "cheap_servers"], stdout=said, stderr=said) as outer,
    ):
        judge, server = map(int, wait_for_text(pytester.path / "started").split())
        wait_for_text(pytester.path / "server")

        os.kill(judge, number)

        assert outer.wait(timeout=60) == pytest.ExitCode.INTERRUPTED, output.read_text(encoding="utf-8")
    assert not psutil.pid_exists(server)
    assert (pytester.path / "ended").exists(), "a second signal has cut the end short"
    assert "KeyboardInterrupt" in output.read_text(encoding="utf-8")


@pytest.mark.long
def test_workers_and_judge_that_are_told_at_once_end_the_run_in_words(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor tells each process of the group, and the outer one passes its signal on: the judge gets two."""
    pytester.makepyfile(cheap_servers=SERVERS.replace("os.kill(os.getppid(), each)", "pass"))
    monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=os.pathsep)
    monkeypatch.setenv("FOLDER", str(pytester.path))
    command = [sys.executable, "-m", "pytest", "--cosmos-conformance", "--cosmos-implementation=cosmos_venv"]
    output = pytester.path / "output"
    with (
        output.open("wb") as said,
        subprocess.Popen(
            [*command, "-n", "2", "-p", "cheap_servers"], stdout=said, stderr=said, start_new_session=True
        ) as outer,
    ):
        wait_until(lambda: len(list(pytester.path.glob("waits-*"))) == 2, "no two workers run a check")

        os.killpg(outer.pid, signal.SIGTERM)

        code = outer.wait(timeout=60)
    told = output.read_text(encoding="utf-8")
    assert code == pytest.ExitCode.INTERRUPTED, told
    assert "INTERNALERROR" not in told
    assert "Traceback" not in told
    assert "The run ended before all was judged: no verdict (exit code 2)." in told
