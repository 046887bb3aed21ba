"""A program of another environment answers lines of JSON; what it does instead is told with the way out."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from conformance import command_adapter
from conformance.adapter import AdapterError, Outcome, Task
from conformance.command_adapter import DESCRIPTION, CommandAdapter

TOY = Path(__file__).parent / "toy" / "toy.py"
TASK = Task(command="run", profile={}, arguments={"py_requirements": []})
FOREVER = "import signal; signal.pause()"


@pytest.fixture(autouse=True)
def _the_handler_of_sigterm_is_put_back() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def adapter(*words: str) -> CommandAdapter:
    class Mine(CommandAdapter):
        command: Sequence[str] = words  # type: ignore[misc] # the base says that it is the class's

    return Mine()


def python(code: str) -> CommandAdapter:
    return adapter(sys.executable, "-I", "-c", code)


def answering(answer: str) -> CommandAdapter:
    return python(f"import sys; sys.stdin.readline(); print({answer!r})")


def test_a_program_tells_its_name_and_version_and_its_task_comes_to_an_end() -> None:
    toy = adapter(sys.executable, "-I", str(TOY))

    assert toy.describe() == {"name": "toy", "version": "0.1"}
    seen = toy.perform(TASK)

    assert seen == Outcome(
        state="failed", exception="TaskError: py_requirements is empty: name dbt-core and an adapter."
    )


def test_the_message_of_a_task_has_its_command_profile_and_arguments() -> None:
    echo = "import json, sys; print(json.dumps({'state': 'success', 'log': sys.stdin.readline()}))"
    task = Task(command="ls", profile={"target_name": "dev"}, arguments={"virtualenv_dir": Path("/pier")})

    told = json.loads(python(echo).perform(task).log)

    assert told == {
        "message": "run",
        "protocol": 1,
        "command": "ls",
        "profile": {"target_name": "dev"},
        "arguments": {"virtualenv_dir": "/pier"},
    }


@pytest.mark.parametrize(
    ("program", "words"),
    [
        pytest.param(
            adapter("/no/such/program"), "describe was not sent, .*No such file.*: give the words", id="not-there"
        ),
        pytest.param(adapter(), "describe was not sent, .*give the words of its command line", id="no-command"),
        pytest.param(
            python("import os; os.write(2, b'a gull'); os._exit(3)"),
            "describe: the program ended with 3 before it answered. Let it .*It wrote: a gull",
            id="ends",
        ),
        pytest.param(answering("ahoy"), r"describe was answered by .*: b'ahoy\\n'. Let the program write", id="words"),
        pytest.param(answering("{}\n{}"), "describe was answered by what is no line with a JSON object", id="two"),
        pytest.param(answering("{}"), 'describe was answered by {}: give {"protocol": 1, "name": ', id="empty"),
    ],
)
def test_a_program_that_does_not_describe_itself_is_refused(program: CommandAdapter, words: str) -> None:
    with pytest.raises(AdapterError, match=f"(?s)^Mine.command, .*: the message {words}"):
        program.describe()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param("", "answered", id="no-answer"),
        pytest.param(f"echo '{DESCRIPTION}';", "ended, though it has answered", id="no-end"),
    ],
)
def test_a_program_that_gives_no_answer_or_does_not_end_is_ended(
    answer: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_adapter, "SECONDS", 1.0)
    program = adapter("/bin/sh", "-c", f"read line; {answer} exec sleep 1000")

    with pytest.raises(AdapterError, match=f"describe: within 1 s the program has not {words}. Let it answer, and end"):
        program.describe()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        pytest.param(python("import os; os._exit(0)"), "the program ended with 0 before it answered", id="ends"),
        pytest.param(python(FOREVER), "within 1 s the program has not answered", id="no-answer"),
        pytest.param(
            python(f"import os, signal; os.kill(os.getppid(), signal.SIGTERM); {FOREVER}"),
            "the program ended with -15 before it answered",
            id="told-to-end",
        ),
    ],
)
def test_a_task_without_an_answer_has_failed(program: CommandAdapter, words: str) -> None:
    program.seconds = 1.0 if "within" in words else 60.0

    seen = program.perform(TASK)

    assert seen.state == "failed"
    assert f": the message run: {words}" in str(seen.exception)


@pytest.mark.parametrize(
    "answer",
    ['{"state": "done"}', '{"state": "success", "exeption": "none"}', '{"state": "failed", "exception": 3}'],
)
def test_an_answer_that_is_no_outcome_is_refused(answer: str) -> None:
    with pytest.raises(AdapterError, match=r'the message run was answered by {.*}: give {"state": "success"}, or'):
        answering(answer).perform(TASK)


def test_a_child_of_the_program_can_read_what_stands_behind_the_message() -> None:
    child = "import os; print(os.read(0, 100).decode(), end='')"
    code = (
        "import json, subprocess, sys; sys.stdin.readline(); "
        f"said = subprocess.check_output([sys.executable, '-c', {child!r}], text=True); "
        "print(json.dumps({'state': 'failed', 'exception': said}))"
    )
    task = Task(command="run", profile={}, arguments={}, standard_input="the supervisor's answer")

    assert python(code).perform(task).exception == "the supervisor's answer"
