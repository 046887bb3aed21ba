"""Racers meet in different workers of pytest-xdist, under each way to hand out tests, and when things go wrong."""

from __future__ import annotations

import os

import pytest

from tests.pytest_cosmos_venv.xdist_races.race_modes import CROWD, Mode, ModeCounts, modes, prove

pytest_plugins = ["pytester"]

DEADLINE = 120.0

needs_crowd = pytest.mark.skipif(
    not CROWD.exists() and os.environ.get("CI") != "true",
    reason="no other people's plugins at .cache/envs/crowd: make test makes it",
)


@pytest.mark.long
@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(mode, id=mode.beside or mode.name, marks=[needs_crowd] if mode.python == CROWD else [])
        for mode in modes()
    ],
)
def test_racers_of_each_race_meet_in_workers_of_their_own(mode: Mode) -> None:
    counts = ModeCounts()

    prove(mode, counts)

    assert counts.faults == []
    assert counts.races == 12
    assert counts.across == 12 or not mode.is_complete


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("--color=no", "-p", "no:cacheprovider", *options, timeout=DEADLINE)


FAILING = """
    import os
    import pytest

    @pytest.mark.cosmos_race(racers=2, across_workers=True)
    def test_crash(cosmos_racer):
        cosmos_racer.barrier("start")
        if cosmos_racer.index == 1:
            os._exit(3)
        cosmos_racer.barrier("end")

    @pytest.fixture
    def harbor(request):
        assert "racer-1" not in request.node.name

    @pytest.mark.cosmos_race(racers=2, across_workers=True)
    def test_setup(cosmos_racer, harbor):
        cosmos_racer.barrier("start")

    @pytest.mark.cosmos_race(racers=2, across_workers=True)
    def test_assert(cosmos_racer):
        with cosmos_racer.span("install"):
            assert cosmos_racer.index == 0
        cosmos_racer.barrier("end")

    @pytest.mark.cosmos_race(racers=2, across_workers=True)
    def test_late(cosmos_racer):
        if cosmos_racer.index == 1:
            cosmos_racer.barrier("elsewhere", timeout=20)
        cosmos_racer.barrier("end", timeout=0.2)

    @pytest.mark.parametrize("number", range(3))
    @pytest.mark.cosmos_race(racers=2, across_workers=True)
    def test_of_later_races(cosmos_racer, number):
        cosmos_racer.barrier("start")

    for number in range(8):
        exec(f"def test_that_is_no_race_{number}(): pass")
"""


@pytest.mark.long
def test_who_fails_is_named_and_the_run_goes_on(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILING)

    result = run(pytester, "-n", "2", "--dist", "loadscope")

    result.assert_outcomes(failed=7, errors=1, passed=14)
    for line in (
        "worker 'gw1' crashed while running '*::test_crash?racer-1-of-2?'",
        "racer 1 (gw1, process *) lost its worker gw1, which crashed, and did not come to barrier 'end'.",
        "*ERROR at setup of test_setup?racer-1-of-2?*",
        "racer 1 failed in its setup and did not come to the start of the race.",
        "racer 1 (gw*, process *) failed and did not come to barrier 'end'.",
        "*Timeline of the race*",
        "racer-1 install*",
        "Not at barrier 'end' within 0.2 s: racer 1 (gw*, process *). 1 of 2 racers were there.",
        "racer 0 (gw*, process *) failed and did not come to barrier 'elsewhere'.",
    ):
        result.stdout.fnmatch_lines([line])
    result.stdout.no_fnmatch_line("*not across workers*")


@pytest.mark.long
def test_what_cannot_run_across_workers_runs_in_processes_with_a_note(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os
        import pytest

        @pytest.mark.cosmos_race(racers=3, across_workers=True)
        def test_of_three(cosmos_racer):
            cosmos_racer.barrier("start")

        @pytest.mark.cosmos_race(racers=2, across_workers=True)
        def test_of_two(cosmos_racer):
            cosmos_racer.barrier("start")

        @pytest.mark.cosmos_race(racers=2, across_workers=True)
        def test_complete(cosmos_racer):
            names = cosmos_racer.shared / str(cosmos_racer.index)
            names.write_text(os.environ["PYTEST_XDIST_WORKER"])
            cosmos_racer.barrier("start")
            assert len({file.read_text() for file in cosmos_racer.shared.iterdir()}) == 2

        @pytest.mark.cosmos_race(racers=2, across_workers=True)
        def test_unknown(cosmos_racer):
            cosmos_racer.barrier("start")
        """
    )
    pytester.makeconftest(
        """
        from pathlib import Path
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(item):
            folder = Path(item.config.workerinput["cosmos_races"]["folder"])
            for file in folder.glob("test_unknown*/announced"):
                file.unlink(missing_ok=True)
        """
    )

    result = run(
        pytester, "-n", "2", "-k", "three or complete or unknown or (two and racer-1)", "--junitxml=report.xml"
    )

    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["*races in processes of their own, not across workers*"])
    result.stdout.fnmatch_lines(
        [
            "3 racers need 3 workers of pytest-xdist that share the tests, this run has 2",
            "    *::test_of_three?racer-0-of-3?",
        ]
    )
    result.stdout.fnmatch_lines(["racer-0-of-2 of it was not selected", "    *::test_of_two?racer-1-of-2?"])
    why = "whatever hands out the tests of this run does not know it as a race"
    result.stdout.fnmatch_lines([why, "    *::test_unknown?racer-?-of-2?", "    *::test_unknown?racer-?-of-2?"])
    assert (pytester.path / "report.xml").read_text().count('<property name="cosmos_race"') == 4


@pytest.mark.long
@needs_crowd
def test_a_racer_that_is_run_again_runs_all_copies_by_itself(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAG", str(pytester.path / "flag"))
    pytester.makepyfile(
        """
        import os
        from pathlib import Path
        import pytest

        @pytest.mark.cosmos_race(racers=2, across_workers=True)
        def test_flaky(cosmos_racer):
            cosmos_racer.barrier("start")
            if cosmos_racer.index == 1 and not Path(os.environ["FLAG"]).exists():
                Path(os.environ["FLAG"]).touch()
                raise AssertionError("the first time")
            cosmos_racer.barrier("end")

        @pytest.mark.cosmos_race(racers=2, across_workers=True)
        def test_next(cosmos_racer):
            cosmos_racer.barrier("start")
        """
    )
    options = ["-n", "2", "--reruns", "1", "-p", "no:randomly", "-p", "no:pytest_airflow_in_a_box", "--color=no"]

    result = pytester.run(CROWD, "-m", "pytest", *options, timeout=DEADLINE)

    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["rerun"], outcomes.get("failed")) == (4, 2, None)
    result.stdout.fnmatch_lines(["it was run again, and by then the others had ended"])
