"""One test runs as N processes, and what happens to one of them is told by the one report."""

from __future__ import annotations

import psutil
import pytest

pytest_plugins = ["pytester"]

DEADLINE = 60.0


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:xdist", "-p", "no:cacheprovider", *options, timeout=DEADLINE)


PASSING = """
    import logging, os, subprocess, sys, time
    from pathlib import Path
    import freezegun
    import pytest

    @pytest.fixture
    def harbor(tmp_path):
        (tmp_path / "set-up").open("a").write("once ")
        yield tmp_path
        assert (tmp_path / "set-up").read_text() == "once "
        assert "COSMOS_RACE_ACTOR" not in os.environ
        assert "left" not in os.environ

    @pytest.fixture
    def shared_by_fixture(cosmos_racer):
        (cosmos_racer.shared / "from-setup").write_text("there")
        return cosmos_racer.shared

    @pytest.mark.cosmos_race(racers=3)
    @pytest.mark.parametrize("number", [1, 2])
    def test_copies_run_at_once(cosmos_racer, harbor, shared_by_fixture, number):
        cosmos_racer.barrier("start")
        with cosmos_racer.span("dbt run"):
            cosmos_racer.barrier("in the middle")
        cosmos_racer.event("done")
        (cosmos_racer.shared / f"pid-{cosmos_racer.index}").write_text(str(os.getpid()))
        os.environ["left"] = "behind"
        cosmos_racer.barrier("end")

        pids = {file.read_text() for file in cosmos_racer.shared.glob("pid-*")}
        assert len(pids) == 3 == cosmos_racer.racers
        assert str(os.getppid()) not in pids
        assert os.environ["COSMOS_RACE_ACTOR"] == f"racer-{cosmos_racer.index}"
        assert (shared_by_fixture / "from-setup").read_text() == "there"
        timeline = cosmos_racer.timeline()
        assert timeline.actors == ("racer-0", "racer-1", "racer-2")
        assert timeline.max_concurrent("dbt") == 3
        assert timeline.count("done") == 3
        assert timeline.to_svg().startswith("<svg")

    @pytest.mark.cosmos_race(racers=2)
    class TestHarbor:
        def test_a_mark_may_stand_on_a_class(self, cosmos_racer, capfd):
            print("mine", cosmos_racer.index)
            assert capfd.readouterr().out == f"mine {cosmos_racer.index}\\n"

    @pytest.mark.cosmos_race(racers=2)
    def test_a_log_is_a_racers_own(cosmos_racer, caplog):
        logging.getLogger("harbor").warning("I am %s", cosmos_racer.index)
        assert caplog.messages == [f"I am {cosmos_racer.index}"]

    @pytest.mark.cosmos_race(racers=2)
    def test_racers_meet_while_time_is_frozen(cosmos_racer):
        with freezegun.freeze_time("2026-01-01", tick=False):
            cosmos_racer.barrier("start", timeout=20)
            with pytest.raises(pytest.fail.Exception, match="barrier 'alone .'"):
                cosmos_racer.barrier(f"alone {cosmos_racer.index}", timeout=0.05)

    @pytest.mark.cosmos_race(racers=2)
    def test_that_leaves_a_process_behind(cosmos_racer):
        wait = [sys.executable, "-c", "import signal; signal.pause()"]
        for in_a_session_of_its_own in (False, True):
            child = subprocess.Popen(wait, start_new_session=in_a_session_of_its_own)
            Path(os.environ["LEFT_BEHIND"], str(child.pid)).touch()

    @pytest.mark.cosmos_race(racers=2)
    def test_that_is_skipped(cosmos_racer):
        pytest.skip("no harbor")

    @pytest.mark.cosmos_race(racers=2)
    @pytest.mark.parametrize("leave", [pytest.skip, pytest.xfail])
    def test_that_one_racer_passes(cosmos_racer, leave):
        if cosmos_racer.index == 0:
            leave("one is enough")

    @pytest.mark.cosmos_race(racers=2)
    @pytest.mark.xfail(reason="known", strict=True)
    def test_that_is_known_to_fail(cosmos_racer):
        assert cosmos_racer.index == 0

    @pytest.mark.cosmos_race(racers=2, across_workers=True)
    def test_across(cosmos_racer):
        cosmos_racer.barrier("start")
"""


@pytest.mark.long
@pytest.mark.parametrize("capture", ["fd", "sys"])
def test_copies_run_at_once_in_processes_of_their_own(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capture: str
) -> None:
    left_behind = pytester.mkdir("left-behind")
    monkeypatch.setenv("LEFT_BEHIND", str(left_behind))
    pytester.makepyfile(PASSING.replace("capfd", "capfd" if capture == "fd" else "capsys"))

    result = run(pytester, f"--capture={capture}", "-rs")

    result.assert_outcomes(passed=9, skipped=1, xfailed=1, deselected=1)
    result.stdout.fnmatch_lines(
        [
            "*races in processes of their own, not across workers*",
            "2 racers need 2 workers of pytest-xdist that share the tests, this run has none",
            "    test_copies_run_at_once_in_processes_of_their_own.py::test_across?racer-0-of-2?",
            "SKIPPED * no harbor",
        ]
    )
    pids = [int(file.name) for file in left_behind.iterdir()]
    assert len(pids) == 4
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.long
def test_a_failure_says_which_racer_and_draws_the_race(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, signal, sys
        import pytest

        @pytest.mark.cosmos_race(racers=3)
        def test_killed(cosmos_racer):
            print("said by", cosmos_racer.index)
            cosmos_racer.barrier("start")
            if cosmos_racer.index == 1:
                with cosmos_racer.span("install"):
                    os.kill(os.getpid(), signal.SIGKILL)
            cosmos_racer.barrier("end")

        @pytest.mark.cosmos_race(racers=2)
        def test_wrong(cosmos_racer):
            assert cosmos_racer.index == 1, "not the one"

        @pytest.mark.cosmos_race(racers=2)
        def test_left(cosmos_racer):
            if cosmos_racer.index == 0:
                os._exit(7)

        @pytest.mark.cosmos_race(racers=2)
        def test_late(cosmos_racer):
            if cosmos_racer.index == 0:
                cosmos_racer.barrier("alone", timeout=0.1)
            else:
                cosmos_racer.barrier("elsewhere", timeout=20)

        @pytest.mark.cosmos_race(racers=2, timeout=0.5)
        def test_for_ever(cosmos_racer):
            if cosmos_racer.index == 0:
                signal.pause()

        def test_after_all_that():
            pass
        """
    )

    result = run(pytester, "--color=no")

    result.assert_outcomes(failed=5, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ test_killed _*",
            "racer 1 (process *) was killed by SIGKILL; 3 of 3 racers failed.",
            "racer 0 (process *) failed.",
            "racer 1 (process *) was killed by SIGKILL and did not come to barrier 'end'.",
            "*Captured stdout racer 1 call*",
            "said by 1",
            "*Timeline of the race*",
            "racer-1 install*▶*no end",
            "*_ test_wrong _*",
            "racer 0 (process *) failed; 1 of 2 racers failed.",
            "E       AssertionError: not the one",
            "*_ test_left _*",
            "racer 0 (process *) ended its process with exit code 7; 1 of 2 racers failed.",
            "*_ test_late _*",
            "racer 0 (process *) failed; 2 of 2 racers failed.",
            "Not at barrier 'alone' within 0.1 s: racer 1 (process *). 1 of 2 racers were there.",
            "racer 0 (process *) failed and did not come to barrier 'elsewhere'.",
            "*_ test_for_ever _*",
            "racer 0 * was killed because it had not ended after 0.5 s (cosmos_race(*timeout=*) allows more); 1 of 2 *",
        ]
    )
