"""Tests of the command line's output: for people, for programs, and for a reader that goes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cosmos_venv.cli import main
from cosmos_venv.cli.output import INTERRUPTED, NO_READER, rendered, table_of

# Says what is done, and ends when it is told to.
SLOW = """
import sys
from cosmos_venv.cli.output import steps
with steps("counting boats") as step:
    step.begin("counting the first one")
    step.say("a line")
    step.mention("a look")
    sys.stdin.read()
print("done")
"""


def test_who_waits_sees_the_present_step_which_goes() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", SLOW],
        stdin=subprocess.PIPE,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        os.close(theirs)
        shown = b""
        while b"counting the first one: a look" not in shown:  # pytest's own time-out ends it
            shown += os.read(ours, 4096)
        process.communicate(b"")
    os.close(ours)

    assert b"a line" in shown
    assert process.returncode == 0


def test_a_pipe_gets_no_steps() -> None:
    done = subprocess.run([sys.executable, "-c", SLOW], input="", capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("done\n", "a line\n")


def test_a_program_reads_an_error_as_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["env", "list", str(tmp_path / "nowhere"), "--json"])

    printed = capfd.readouterr()
    assert code == 1
    assert list(json.loads(printed.out)) == ["error"]
    assert printed.err == json.loads(printed.out)["error"] + "\n"


def test_the_end_of_a_reader_is_no_traceback() -> None:
    program = "import sys; from cosmos_venv.cli import main; sys.exit(main(['env', 'list', '.']))"
    read_end, write_end = os.pipe()
    os.close(read_end)

    done = subprocess.run(
        [sys.executable, "-c", program], stdout=write_end, stderr=subprocess.PIPE, text=True, check=False
    )

    os.close(write_end)
    assert (done.returncode, done.stderr) == (NO_READER, "")


def test_an_interrupt_is_no_traceback(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    (tmp_path / "dag.py").write_text(
        f"print('imported', file=open({str(tmp_path / 'gate')!r}, 'w'))\nimport time\ntime.sleep(60)"
    )
    command = [sys.executable, "-m", "cosmos_venv.cli", "render", str(tmp_path / "dag.py")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        (tmp_path / "gate").read_text()
        process.send_signal(signal.SIGINT)
        rest = process.communicate()[1]

    assert (process.returncode, "Traceback" in rest) == (INTERRUPTED, False)


def test_no_text_is_cut_or_taken_for_markup_in_a_pipe() -> None:
    table = table_of(["name", "text"], [["a", "word " * 100 + "[red]"]])

    shown = rendered([table, "[red] line"])

    assert shown == f"name  text\na     {'word ' * 100}[red]\n[red] line\n"


def test_help_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    for command, word in ((["env", "warm"], "for [cosmos_venv] virtualenv_search_path"), (["doctor"], "141")):
        with pytest.raises(SystemExit):
            main([*command, "--help"])

        printed = " ".join(capsys.readouterr().out.split())
        assert "Exit codes: 0 all is well" in printed
        assert word in printed, "it is no markup"


def test_help_waits_for_no_airflow() -> None:
    program = "import sys, cosmos_venv.cli; print('airflow' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
