"""A run of the suite ends with what it found, whatever surrounds it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_cosmos_venv import plugin
from pytest_cosmos_venv.conformance import SPECIFICATION_VERSION, SUITE_VERSION
from pytest_cosmos_venv.conformance.reporting.verdicts import SMOKE_FILE, Seen, Verdict, judge
from pytest_cosmos_venv.conformance.requirements import Level, Requirement
from pytest_cosmos_venv.conformance.session import gap, suite_exit_code
from tests.conformance.prepared_suite import run_suite_itself
from tests.waiting import wait_until

pytest_plugins = ["pytester"]

HANGING_IMPLEMENTATION = """
import os, signal

with open(os.environ["STARTED"], "w") as started:
    started.write(f"{os.getpid()}\\n")
signal.pause()
"""


@pytest.fixture
def broken_implementation(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> str:
    packages = pytester.mkdir("packages")
    (packages / "broken_implementation").mkdir()
    (packages / "broken_implementation" / "__init__.py").write_text("import no_such_dependency\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(packages), prepend=os.pathsep)
    return "broken_implementation"


@pytest.mark.parametrize(
    ("exitstatus", "facts", "expected"),
    [
        pytest.param(pytest.ExitCode.OK, {}, 0, id="all-passed"),
        pytest.param(pytest.ExitCode.TESTS_FAILED, {"failed": True}, 1, id="some-failed"),
        pytest.param(pytest.ExitCode.TESTS_FAILED, {}, 0, id="some-failed-of-a-level-that-was-not-asked-for"),
        pytest.param(pytest.ExitCode.INTERRUPTED, {"smoke_failed": True}, 10, id="a-smoke-check-failed"),
        pytest.param(pytest.ExitCode.NO_TESTS_COLLECTED, {}, 11, id="nothing-collected"),
        pytest.param(pytest.ExitCode.OK, {"has_gap": True}, 11, id="passed-with-gaps"),
        pytest.param(pytest.ExitCode.TESTS_FAILED, {"has_gap": True, "failed": True}, 1, id="failed-with-gaps"),
        pytest.param(pytest.ExitCode.TESTS_FAILED, {"has_gap": True}, 11, id="failed-with-gaps-at-what-does-not-count"),
        pytest.param(pytest.ExitCode.USAGE_ERROR, {}, 4, id="bad-use"),
    ],
)
def test_the_exit_code_says_whether_there_is_a_verdict(exitstatus: int, facts: dict[str, Any], expected: int) -> None:
    assert suite_exit_code(exitstatus, **{"smoke_failed": False, **facts}) == expected


@pytest.mark.parametrize(
    ("verdicts", "left_out", "expected"),
    [
        pytest.param([Verdict.PASSED, Verdict.NOT_APPLICABLE], set(), None, id="all-judged"),
        pytest.param([Verdict.PASSED, Verdict.NOT_RUN], set(), None, id="cannot-be-judged-here"),
        pytest.param([Verdict.FAILED, Verdict.HARNESS_ERROR], set(), "The suite itself failed", id="broken"),
        pytest.param(
            [Verdict.PASSED, None, Verdict.PASSED],
            {"A-001", "A-002", SMOKE_FILE},
            "The given options left out 2 of 3 requirements, whole or in part",
            id="left-out",
        ),
        pytest.param([Verdict.PASSED], {SMOKE_FILE}, "The given options left out smoke checks", id="left-out-smoke"),
        pytest.param([Verdict.FAILED, None], set(), "The run ended before all was judged", id="ended-at-first-failure"),
        pytest.param(
            [Verdict.NOT_APPLICABLE, Verdict.DIFFERS],
            set(),
            "No requirement of the level SHOULD was judged: none applies, or all differ on purpose",
            id="nothing-judged",
        ),
    ],
)
def test_a_run_says_why_it_gives_no_verdict(
    verdicts: list[Verdict | None], left_out: set[str], expected: str | None
) -> None:
    names = [f"A-{number:03}" for number in range(len(verdicts))]
    specification = {
        name: Requirement(id=name, level=Level.SHOULD, sentence="It holds.", sources=("a page",)) for name in names
    }
    seen = [
        Seen(test="test", requirement=name, verdict=verdict)
        for name, verdict in zip(names, verdicts, strict=True)
        if verdict
    ]

    assert gap(judge(specification, seen), left_out, Level.SHOULD) == expected


@pytest.mark.long
def test_a_failing_smoke_check_ends_the_run_and_blames_no_requirement(
    pytester: pytest.Pytester, broken_implementation: str
) -> None:
    result = pytester.runpytest_subprocess("--cosmos-conformance", f"--cosmos-implementation={broken_implementation}")

    assert result.ret == 10
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*= conformance: nothing was judged =*",
            "The implementation must import. Seen: *",
            "*No module named 'no_such_dependency'*",
            "The smoke check checks/test_smoke.py::test_the_implementation_imports failed, so the environment or *",
        ]
    )
    assert "def test_the_implementation_imports" not in result.stdout.str(), "the suite's source tells a user nothing"


@pytest.mark.long
def test_an_adapter_that_does_not_say_how_a_task_is_performed_is_told_to(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pytester.mkdir("packages") / "my_adapter.py").write_text(
        "from pytest_cosmos_venv.conformance.adapter import Adapter\nclass Mine(Adapter): import_root = 'tiny'\n",
        encoding="utf-8",
    )
    for folder in (Path(__file__).parent, pytester.path / "packages"):
        monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)

    result = pytester.runpytest_subprocess("--cosmos-conformance", "--cosmos-implementation=my_adapter:Mine")

    assert result.ret == 10
    result.stdout.fnmatch_lines(["*Mine.perform raised NotImplementedError: override perform, or *"])


def test_the_suite_says_that_it_does_not_run_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    config: Any = SimpleNamespace(option=SimpleNamespace(help=False, version=False, cosmos_conformance=True))
    monkeypatch.setattr(sys, "platform", "win32")

    with pytest.raises(pytest.UsageError, match=r"Linux.*which win32 has not\. Run it in WSL"):
        plugin.pytest_cmdline_main(config)


def test_smoke_checks_go_first_whatever_a_plugin_does_to_the_order(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        shuffling=(
            "import pytest\n\n@pytest.hookimpl(trylast=True)\n"
            "def pytest_collection_modifyitems(items): items.reverse()\n"
        )
    )
    monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=os.pathsep)
    options = ["-p", "shuffling", "--collect-only", "-q"]

    done = run_suite_itself(*options, implementation="cosmos_venv", folder=pytester.path)

    files = [line.partition("::")[0] for line in done.stdout.splitlines() if "::" in line]
    assert files[:3] == ["checks/test_smoke.py"] * 3
    assert "checks/test_smoke.py" not in files[3:]


@pytest.mark.long
def test_the_order_is_drawn_by_a_seed_and_drawn_again_by_the_same_one(pytester: pytest.Pytester) -> None:
    options = ["--collect-only", "-q"]

    def collected(seed: str) -> list[str]:
        done = run_suite_itself(*options, f"--cosmos-seed={seed}", implementation="cosmos_venv", folder=pytester.path)
        return [line for line in done.stdout.splitlines() if "::" in line]

    one, other = collected("harbor"), collected("pier")
    # By a Python of its own, which has other hashes of texts: an order that depends on them is another one there.
    again = pytester.runpytest_subprocess(
        "--cosmos-conformance", "--cosmos-implementation=cosmos_venv", *options, "--cosmos-seed=harbor"
    )
    same = [line for line in again.outlines if "::" in line]

    assert one
    assert one == same
    assert one != other
    assert sorted(one) == sorted(other)


def test_a_run_that_collects_nothing_gives_no_verdict(pytester: pytest.Pytester) -> None:
    arguments = ["--cosmos-implementation=cosmos_venv", "-k", "no_such_check"]

    result = pytester.runpytest_subprocess("--cosmos-conformance", *arguments)

    assert result.ret == 11
    assert [line for line in result.outlines if "--cosmos-servers" in line] == [
        "not in this run: the 16 requirements of WATCH, which --cosmos-servers judges"
    ]


@pytest.mark.long
def test_what_the_project_configures_does_not_apply(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, broken_implementation: str
) -> None:
    pytester.makeconftest("raise RuntimeError('a conftest that must not be read')")
    pytester.makeini("[pytest]\naddopts = -k no_such_check --maxfail=7\npython_files = nothing_*.py\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-m never")
    pytester.mkpydir("conformance")

    result = pytester.runpytest_subprocess("--cosmos-conformance", f"--cosmos-implementation={broken_implementation}")

    assert result.ret == 10
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["set aside: tox.ini, conftest.py, PYTEST_ADDOPTS", "collected * items"])


def test_nothing_is_left_behind(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, broken_implementation: str
) -> None:
    temporary = pytester.mkdir("temporary")
    monkeypatch.setenv("TMPDIR", str(temporary))
    home = pytester.mkdir("home")
    monkeypatch.setenv("AIRFLOW_HOME", str(home))
    before = sorted(path.name for path in pytester.path.iterdir())

    pytester.run("python", "-m", "pytest", "--cosmos-conformance", f"--cosmos-implementation={broken_implementation}")

    assert [path for folder in (temporary, home) for path in folder.iterdir()] == []
    assert sorted(path.name for path in pytester.path.iterdir() if path.name not in ("stdout", "stderr")) == before


def by_terminal(pid: int) -> None:
    """Ctrl-C, which goes to the whole foreground group; a session of its own stands for the terminal."""
    os.killpg(pid, signal.SIGINT)


def by_supervisor(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def by_supervisor_of_all(pid: int) -> None:
    """A supervisor that tells each process: the outer one passes its signal on, and the judge gets two."""
    os.killpg(pid, signal.SIGTERM)


@pytest.mark.long
@pytest.mark.parametrize(
    ("tell", "workers"),
    [
        pytest.param(by_terminal, ["-n", "1"], id="xdist-a-terminal"),
        pytest.param(by_supervisor, [], id="one-process-a-supervisor"),
        pytest.param(by_supervisor_of_all, ["-n", "1"], id="xdist-a-supervisor-of-all"),
    ],
)
def test_who_interrupts_the_suite_ends_it_and_what_it_started(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tell: Callable[[int], None], workers: list[str]
) -> None:
    temporary = pytester.mkdir("temporary")
    monkeypatch.setenv("TMPDIR", str(temporary))
    packages = pytester.mkdir("packages")
    (packages / "hanging_implementation").mkdir()
    (packages / "hanging_implementation" / "__init__.py").write_text(HANGING_IMPLEMENTATION, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(packages), prepend=os.pathsep)
    monkeypatch.setenv("STARTED", str(pytester.path / "started"))
    command = [sys.executable, "-m", "pytest", "--cosmos-conformance"]
    with (
        (pytester.path / "output").open("wb") as output,
        subprocess.Popen(
            [*command, "--cosmos-implementation=hanging_implementation", *workers],
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as outer,
    ):
        hanging = int(wait_for_text(pytester.path / "started"))

        tell(outer.pid)

        assert outer.wait(timeout=60) == pytest.ExitCode.INTERRUPTED
        assert not Path(f"/proc/{hanging}").exists()
        assert list(temporary.glob("cosmos-conformance-*")) == []
    told = (pytester.path / "output").read_text(encoding="utf-8")
    assert "INTERNALERROR" not in told
    assert "The run ended before all was judged: no verdict (exit code 2)." in told


def test_the_specification_carries_the_versions_that_a_run_prints() -> None:
    text = (Path(__file__).resolve().parents[2] / "conformance" / "SPEC.md").read_text(encoding="utf-8")

    assert f"Specification {SPECIFICATION_VERSION}, suite {SUITE_VERSION}." in text


def wait_for_text(file: Path) -> str:
    """The first line of the file, once another process has written it."""
    wait_until(lambda: file.exists() and file.read_text(encoding="utf-8").endswith("\n"), f"{file} was not written")
    return file.read_text(encoding="utf-8")
