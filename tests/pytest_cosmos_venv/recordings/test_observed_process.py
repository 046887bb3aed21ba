"""A recorder in front of dbt changes nothing for its caller: input, output, signals and the end stay what they are."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.pytest_cosmos_venv.recordings.stand_in_dbt import DEADLINE, environment, record, recorder, write_dbt

# It says that it listens, and each signal that comes, up to the last one. It waits for a byte of each signal: one that
# came between a look at `came` and signal.pause() was taken after the next signal, and there was none.
LISTENING = """
came, (heard, bell) = [], os.pipe()
os.set_blocking(bell, False)
signal.set_wakeup_fd(bell)
def take(number, frame):
    came.append(signal.Signals(number).name)
    os.write(1, f"{came[-1]}\\n".encode())
for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(each, take)
print("ready", os.getpid(), flush=True)
while "SIGUSR1" not in came:
    os.read(heard, 1)
sys.exit(3)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """The processes of a test; what still runs of them is killed."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def start_recorded(code: str, folder: Path, processes: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*recorder(folder / "recording", write_dbt(folder, code)), "run"],
        cwd=folder,
        env=environment({"TMPDIR": str(folder)}),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    processes.append(process)
    return process


@pytest.mark.parametrize("exit_code", [0, 1, 2, 77])
def test_the_exit_code_is_that_of_dbt(exit_code: int, tmp_path: Path) -> None:
    done = record(tmp_path / "recording", write_dbt(tmp_path, f"sys.exit({exit_code})"), "run", cwd=tmp_path)

    assert done.returncode == exit_code


def test_output_and_input_pass_through_byte_for_byte(tmp_path: Path) -> None:
    code = "sys.stdout.buffer.write(sys.stdin.buffer.read() + b'\\xff\\n no end'); sys.stderr.write('trouble')"
    dbt = write_dbt(tmp_path, code)

    done = subprocess.run(
        [*recorder(tmp_path / "recording", dbt), "run"],
        cwd=tmp_path,
        env=environment(),
        input=b"\x00 given",
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )

    assert (done.stdout, done.stderr) == (b"\x00 given\xff\n no end", b"trouble")


def test_lines_to_one_place_keep_their_order(tmp_path: Path) -> None:
    lines = "".join(
        f"print({number}, file=sys.std{'err' if number % 2 else 'out'}, flush=True)\n" for number in range(40)
    )
    dbt = write_dbt(tmp_path, lines)

    done = subprocess.run(
        [*recorder(tmp_path / "recording", dbt), "run"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE,
        check=False,
    )

    assert done.stdout.split() == [str(number) for number in range(40)]


@pytest.mark.parametrize("whole_group", [False, True], ids=["to-the-process", "to-the-group"])
def test_a_signal_reaches_dbt_once(whole_group: bool, tmp_path: Path, start: list[subprocess.Popen[str]]) -> None:
    process = start_recorded(LISTENING, tmp_path, start)
    assert process.stdout is not None
    process.stdout.readline()

    lines = []
    for number in (signal.SIGINT, signal.SIGTERM):
        if whole_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        lines.append(process.stdout.readline())
    # The recorder passes it on after whatever it passes on of those before.
    process.send_signal(signal.SIGUSR1)

    lines.append(process.stdout.read())
    assert process.wait(DEADLINE) == 3
    assert "".join(lines).split() == ["SIGINT", "SIGTERM", "SIGUSR1"]


def test_a_signal_that_ends_dbt_ends_the_recorder_likewise(tmp_path: Path, start: list[subprocess.Popen[str]]) -> None:
    code = "print('ready', flush=True)\nsignal.pause()\n"
    process = start_recorded(code, tmp_path, start)
    assert process.stdout is not None
    process.stdout.readline()

    process.terminate()

    assert process.wait(DEADLINE) == -signal.SIGTERM


def test_a_recorder_that_is_killed_takes_dbt_with_it(tmp_path: Path, start: list[subprocess.Popen[str]]) -> None:
    process = start_recorded(LISTENING, tmp_path, start)
    assert process.stdout is not None
    dbt = psutil.Process(int(process.stdout.readline().split()[1]))

    process.kill()

    psutil.wait_procs([dbt], timeout=DEADLINE)
    assert not dbt.is_running() or dbt.status() == psutil.STATUS_ZOMBIE
