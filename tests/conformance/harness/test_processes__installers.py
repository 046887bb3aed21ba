"""The processes that are installers at work on an environment: real processes that look like them, and like others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from conformance.harness.processes import Installer, installers_below, two_into_one
from pytest_cosmos_venv.real_time import wait_until

_LINGERS = "import sys; print(flush=True); sys.stdin.read()"
_STARTS_ANOTHER = f"import subprocess, sys; subprocess.run([*sys.argv[1:]], check=True); {_LINGERS}"

Start = Callable[[Sequence[str], Mapping[str, str]], int]


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An environment as installers find one; its programs do nothing until their standard input ends."""
    made = tmp_path / "kept" / "one"
    (made / "bin").mkdir(parents=True)
    (made / "pyvenv.cfg").touch()
    for name in ("pip", "pip3.11", "__pip-runner__.py", "uv", "dbt", "virtualenv"):
        (made / "bin" / name).write_text(_LINGERS, encoding="utf-8")
    return made


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python with these words, once it runs them; its PID."""
    with ExitStack() as ends:

        def started(words: Sequence[str], variables: Mapping[str, str]) -> int:
            process = subprocess.Popen(
                [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(variables)
            )
            ends.callback(process.communicate)
            assert process.stdout is not None
            process.stdout.readline()
            return process.pid

        yield started


@pytest.mark.parametrize(
    ("words", "variables", "expected"),
    [
        pytest.param(["{bin}/pip", "install", "dbt-core"], {}, True, id="pip-by-its-script"),
        pytest.param(["-I", "{bin}/pip3.11", "install", "dbt-core"], {}, True, id="pip-by-its-versioned-name"),
        pytest.param(["-I", "{bin}/__pip-runner__.py", "install", "dbt-core"], {}, True, id="pip-on-another-python"),
        pytest.param(["{other}/uv", "pip", "install", "--python={bin}/python", "dbt"], {}, True, id="uv-told-by-words"),
        pytest.param(["{other}/uv", "pip", "install", "dbt"], {"VIRTUAL_ENV": "{env}"}, True, id="uv-told-by-variable"),
        pytest.param(["{other}/uv", "venv", "{env}"], {}, True, id="uv-venv"),
        pytest.param(["{other}/virtualenv", "{env}"], {}, True, id="virtualenv"),
        pytest.param(["-W", "ignore", "{bin}/pip", "install", "dbt"], {}, True, id="pip-behind-an-option"),
        pytest.param(["{other}/pip", "install", "dbt"], {"VIRTUAL_ENV": "{env}"}, False, id="pip-told-what-uv-is"),
        pytest.param(["{bin}/pip", "list"], {}, False, id="pip-that-lists"),
        pytest.param(["{other}/uv", "pip", "freeze"], {"VIRTUAL_ENV": "{env}"}, False, id="uv-that-lists"),
        pytest.param(["{bin}/dbt", "run", "--target-path", "{env}/pip"], {}, False, id="dbt"),
        pytest.param(["{other}/uv", "pip", "install", "dbt"], {}, False, id="uv-in-no-environment"),
    ],
)
def test_an_installer_is_told_by_what_it_does_and_where(
    environment: Path,
    tmp_path: Path,
    start: Start,
    words: Sequence[str],
    variables: Mapping[str, str],
    expected: bool,
) -> None:
    other = tmp_path / "programs"
    other.mkdir()
    for name in ("pip", "uv", "virtualenv"):
        (other / name).write_text(_LINGERS, encoding="utf-8")
    places = {"env": environment, "bin": environment / "bin", "other": other}

    pid = start(
        [word.format(**places) for word in words], {name: text.format(**places) for name, text in variables.items()}
    )

    found = [(each.pid, each.target) for each in installers_below(environment.parent, [])]
    assert found == ([(pid, environment)] if expected else [])


def test_what_an_installer_has_started_belongs_to_it_whoever_has_started_that(environment: Path, start: Start) -> None:
    pip = [str(environment / "bin" / "pip"), "install", "dbt-core"]
    script = environment / "bin" / "pip"
    script.write_text(_STARTS_ANOTHER, encoding="utf-8")
    inner = environment.parent / "uv"
    inner.write_text(_LINGERS, encoding="utf-8")

    outer = start_and_wait(start, [*pip[:1], sys.executable, str(inner), "pip", "install", str(environment)])

    found = installers_below(environment.parent, [])
    assert {each.task for each in found} == {outer}
    assert len(found) == 2
    assert two_into_one(found) is None


def start_and_wait(start: Start, words: Sequence[str]) -> int:
    """Its PID, when what it starts runs too."""
    pid = start(words, {})
    assert wait_until(lambda: psutil.Process(pid).children(), timeout=30)
    return pid


def test_two_of_different_tasks_are_an_offence_and_two_of_one_are_none(tmp_path: Path) -> None:
    first, same, other = (Installer(pid, task, tmp_path, "pip") for pid, task in ((1, 10), (2, 10), (3, 30)))

    assert two_into_one([first, same]) is None
    assert two_into_one([first, same, other]) == (first, other)
    assert two_into_one([first, Installer(3, 30, tmp_path / "another", "pip")]) is None
