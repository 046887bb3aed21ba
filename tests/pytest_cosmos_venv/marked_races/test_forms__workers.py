"""Copies of a test meet in different workers of pytest-xdist, however tests are handed out and whatever goes wrong."""

from __future__ import annotations

import json
import os
import sys
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from tests.installed import ROOT

pytest_plugins = ["pytester"]

CROWD = ROOT / ".cache" / "envs" / "crowd" / "bin" / "python"
DEADLINE = 120.0

needs_crowd = pytest.mark.skipif(
    not CROWD.exists() and os.environ.get("CI") != "true",
    reason="no other people's plugins at .cache/envs/crowd: make test makes it",
)
RACES = """
    import json, os, time
    from pathlib import Path
    import pytest

    def race(cosmos_race, name):
        cosmos_race.barrier("start")
        began = time.time()
        with cosmos_race.span("work"):
            cosmos_race.barrier("in the middle")
        ended = time.time()  # behind the barrier one copy may be in the next race before another one looks at the clock
        cosmos_race.barrier("end")
        assert cosmos_race.timeline.max_concurrent("work") > 1
        seen = [name, began, ended, os.environ["PYTEST_XDIST_WORKER"], cosmos_race.count]
        Path(os.environ["RACES_LOG"], f"{name}-{cosmos_race.index}").write_text(json.dumps(seen))

    @pytest.mark.parametrize("number", range(4))
    @pytest.mark.cosmos_race(contenders=2)
    def test_of_two(cosmos_race, number):
        race(cosmos_race, f"two-{number}")

    class TestOthers:
        @pytest.mark.parametrize("number", range(4))
        @pytest.mark.cosmos_race(contenders=3)
        @pytest.mark.xdist_group("harbor")
        def test_of_three(self, cosmos_race, number):
            race(cosmos_race, f"three-{number}")

    @pytest.mark.parametrize("number", range(10))
    def test_that_is_no_race(number):
        time.sleep(0.002)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("python", "options"),
    [
        pytest.param(Path(sys.executable), ["--dist", "load"], id="load"),
        pytest.param(Path(sys.executable), ["--dist", "loadgroup"], id="loadgroup"),
        # pytest-randomly needs no option.
        pytest.param(CROWD, ["--reruns", "2", "--timeout", "60"], id="beside-others", marks=needs_crowd),
    ],
)
def test_copies_of_each_race_meet_in_workers_of_their_own(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, python: Path, options: list[str]
) -> None:
    log = pytester.mkdir("log")
    monkeypatch.setenv("RACES_LOG", str(log))
    pytester.makepyfile(RACES)

    # The plugin sets up an Airflow in every worker, and takes no part in running tests.
    others = ["-p", "no:pytest_airflow_in_a_box", "-p", "no:cacheprovider"]
    result = pytester.run(python, "-m", "pytest", "-n", "3", *others, *options, timeout=DEADLINE)

    result.assert_outcomes(passed=30)
    seen = sorted(json.loads(file.read_text()) for file in log.iterdir())
    races = [list(copies) for _, copies in groupby(seen, key=lambda copy: copy[0])]
    assert [len({worker for *_, worker, _ in copies}) for copies in races] == [copies[0][-1] for copies in races]
    spans = sorted((min(copy[1] for copy in copies), max(copy[2] for copy in copies)) for copies in races)
    assert len(spans) == 8
    assert all(one[1] <= two[0] for one, two in pairwise(spans)), "two races went on at once"


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("--color=no", "-p", "no:cacheprovider", *options, timeout=DEADLINE)


FAILING = """
    import os
    import pytest

    @pytest.mark.cosmos_race(contenders=2)
    def test_crash(cosmos_race):
        cosmos_race.barrier("start")
        if cosmos_race.index == 1:
            os._exit(3)
        cosmos_race.barrier("end")

    @pytest.fixture
    def harbor(request):
        assert "contender-1" not in request.node.name

    @pytest.mark.cosmos_race(contenders=2)
    def test_setup(cosmos_race, harbor):
        cosmos_race.barrier("start")

    @pytest.mark.cosmos_race(contenders=2)
    def test_assert(cosmos_race):
        with cosmos_race.span("install"):
            assert cosmos_race.index == 0
        cosmos_race.barrier("end")

    @pytest.mark.cosmos_race(contenders=2)
    def test_late(cosmos_race):
        if cosmos_race.index == 1:
            cosmos_race.barrier("elsewhere", timeout=20)
        cosmos_race.barrier("end", timeout=0.2)

    @pytest.mark.parametrize("number", range(3))
    @pytest.mark.cosmos_race(contenders=2)
    def test_of_later_races(cosmos_race, number):
        cosmos_race.barrier("start")

    for number in range(8):
        exec(f"def test_that_is_no_race_{number}(): pass")
"""


@pytest.mark.long
def test_who_fails_is_named_and_the_run_goes_on(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILING)

    result = run(pytester, "-n", "2", "--dist", "loadscope")

    result.assert_outcomes(failed=7, errors=1, passed=14)
    for line in (
        "worker 'gw1' crashed while running '*::test_crash?contender-1-of-2?'",
        "contender-1 (gw1, process *) lost its worker gw1, which crashed, and did not come to barrier 'end'.",
        "*ERROR at setup of test_setup?contender-1-of-2?*",
        "contender-1 (gw*, process *) failed in its setup and did not come to the start of the race.",
        "contender-1 (gw*, process *) failed and did not come to barrier 'end'.",
        "*Timeline of the race*",
        "contender-1 install*",
        "Not at barrier 'end' within 0.2 s: contender-1 (gw*, process *). 1 of 2 contenders were there.",
        "contender-0 (gw*, process *) failed and did not come to barrier 'elsewhere'.",
    ):
        result.stdout.fnmatch_lines([line])
    result.stdout.no_fnmatch_line("*not across workers*")


@pytest.mark.long
def test_what_cannot_run_across_workers_runs_in_processes_with_a_note(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os
        import pytest

        @pytest.mark.cosmos_race(contenders=3)
        def test_of_three(cosmos_race):
            cosmos_race.barrier("start")

        @pytest.mark.cosmos_race(contenders=2)
        def test_of_two(cosmos_race):
            cosmos_race.barrier("start")

        @pytest.mark.cosmos_race(contenders=2)
        def test_complete(cosmos_race):
            names = cosmos_race.folder / str(cosmos_race.index)
            names.write_text(os.environ["PYTEST_XDIST_WORKER"])
            cosmos_race.barrier("start")
            assert len({file.read_text() for file in cosmos_race.folder.iterdir()}) == 2
        """
    )

    result = run(pytester, "-n", "2", "-k", "three or complete or (two and contender-1)", "--junitxml=report.xml")

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*races in processes of their own, not across workers*"])
    result.stdout.fnmatch_lines(
        ["3 contenders need 3 workers of pytest-xdist, this run has 2", "    *::test_of_three?contender-0-of-3?"]
    )
    result.stdout.fnmatch_lines(["not selected: contender-0-of-2", "    *::test_of_two?contender-1-of-2?"])
    assert (pytester.path / "report.xml").read_text().count('<property name="cosmos_race"') == 2


@pytest.mark.long
@needs_crowd
def test_a_copy_that_is_run_again_runs_all_copies_by_itself(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAG", str(pytester.path / "flag"))
    pytester.makepyfile(
        """
        import os
        from pathlib import Path
        import pytest

        @pytest.mark.cosmos_race(contenders=2)
        def test_flaky(cosmos_race):
            cosmos_race.barrier("start")
            if cosmos_race.index == 1 and not Path(os.environ["FLAG"]).exists():
                Path(os.environ["FLAG"]).touch()
                raise AssertionError("the first time")
            cosmos_race.barrier("end")

        @pytest.mark.cosmos_race(contenders=2)
        def test_next(cosmos_race):
            cosmos_race.barrier("start")
        """
    )
    options = ["-n", "2", "--reruns", "1", "-p", "no:randomly", "-p", "no:pytest_airflow_in_a_box", "--color=no"]

    result = pytester.run(CROWD, "-m", "pytest", *options, timeout=DEADLINE)

    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["rerun"], outcomes.get("failed")) == (4, 2, None)
