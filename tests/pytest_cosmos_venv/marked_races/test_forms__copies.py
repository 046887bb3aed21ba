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
        yield tmp_path
        assert os.environ["left"] == "behind"

    def test_what_a_copy_changes_ends_with_it():
        assert not {"COSMOS_RACE_ACTOR", "left"} & set(os.environ)

    @pytest.fixture
    def shared_by_fixture(cosmos_race):
        (cosmos_race.folder / f"from-setup-{cosmos_race.index}").write_text("there")
        return cosmos_race.folder

    @pytest.mark.cosmos_race(contenders=3)
    @pytest.mark.parametrize("number", [1, 2])
    def test_copies_run_at_once(cosmos_race, harbor, shared_by_fixture, number):
        cosmos_race.barrier("start")
        with cosmos_race.span("dbt run"):
            cosmos_race.barrier("in the middle")
        cosmos_race.point("done")
        (cosmos_race.folder / f"pid-{cosmos_race.index}").write_text(str(os.getpid()))
        os.environ["left"] = "behind"
        cosmos_race.barrier("end")

        pids = {file.read_text() for file in cosmos_race.folder.glob("pid-*")}
        assert len(pids) == 3 == cosmos_race.count
        assert str(os.getppid()) not in pids
        assert os.environ["COSMOS_RACE_ACTOR"] == cosmos_race.name
        assert (shared_by_fixture / "from-setup-2").read_text() == "there"
        timeline = cosmos_race.timeline
        assert timeline.actors == ("contender-0", "contender-1", "contender-2")
        assert timeline.max_concurrent("dbt") == 3
        assert timeline.count("done") == 3

    @pytest.mark.cosmos_race(contenders=2)
    class TestHarbor:
        def test_a_mark_may_stand_on_a_class(self, cosmos_race, capfd):
            print("mine", cosmos_race.index)
            assert capfd.readouterr().out == f"mine {cosmos_race.index}\\n"

    @pytest.mark.cosmos_race(contenders=2)
    def test_a_log_is_its_own(cosmos_race, caplog):
        logging.getLogger("harbor").warning("I am %s", cosmos_race.index)
        assert caplog.messages == [f"I am {cosmos_race.index}"]

    @pytest.mark.cosmos_race(contenders=2)
    def test_they_meet_while_time_is_frozen(cosmos_race):
        with freezegun.freeze_time("2026-01-01", tick=False):
            cosmos_race.barrier("start", timeout=20)
            with pytest.raises(pytest.fail.Exception, match="barrier 'alone .'"):
                cosmos_race.barrier(f"alone {cosmos_race.index}", timeout=0.05)

    @pytest.mark.cosmos_race(contenders=2)
    def test_that_leaves_a_process_behind(cosmos_race):
        wait = [sys.executable, "-c", "import signal; signal.pause()"]
        for in_a_session_of_its_own in (False, True):
            child = subprocess.Popen(wait, start_new_session=in_a_session_of_its_own)
            Path(os.environ["LEFT_BEHIND"], str(child.pid)).touch()

    @pytest.mark.cosmos_race(contenders=2)
    def test_that_is_skipped(cosmos_race):
        pytest.skip("no harbor")

    @pytest.mark.cosmos_race(contenders=2)
    @pytest.mark.parametrize("leave", [pytest.skip, pytest.xfail])
    def test_that_one_passes(cosmos_race, leave):
        if cosmos_race.index == 0:
            leave("one is enough")

    @pytest.mark.cosmos_race(contenders=2)
    @pytest.mark.xfail(reason="known", strict=True)
    def test_that_is_known_to_fail(cosmos_race):
        assert cosmos_race.index == 0
"""


@pytest.mark.long
def test_copies_run_at_once_in_processes_of_their_own(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind = pytester.mkdir("left-behind")
    monkeypatch.setenv("LEFT_BEHIND", str(left_behind))
    pytester.makepyfile(PASSING)

    result = run(pytester, "-rs")

    result.assert_outcomes(passed=9, skipped=1, xfailed=1, deselected=12)
    result.stdout.fnmatch_lines(["SKIPPED * no harbor"])
    result.stdout.no_fnmatch_line("*not across workers*")
    pids = [int(file.name) for file in left_behind.iterdir()]
    assert len(pids) == 4
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.long
def test_a_failure_says_which_copy_and_draws_the_race(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, signal, sys
        import pytest

        @pytest.mark.cosmos_race(contenders=3)
        def test_killed(cosmos_race):
            print("said by", cosmos_race.index)
            cosmos_race.barrier("start")
            if cosmos_race.index == 1:
                with cosmos_race.span("install"):
                    os.kill(os.getpid(), signal.SIGKILL)
            cosmos_race.barrier("end")

        @pytest.mark.cosmos_race(contenders=2)
        def test_wrong(cosmos_race):
            assert cosmos_race.index == 1, "not the one"

        @pytest.mark.cosmos_race(contenders=2)
        def test_left(cosmos_race):
            if cosmos_race.index == 0:
                os._exit(7)

        @pytest.mark.cosmos_race(contenders=2)
        def test_late(cosmos_race):
            if cosmos_race.index == 0:
                cosmos_race.barrier("alone", timeout=0.1)
            else:
                cosmos_race.barrier("elsewhere", timeout=20)

        @pytest.mark.cosmos_race(contenders=2, timeout=0.5)
        def test_for_ever(cosmos_race):
            if cosmos_race.index == 0:
                signal.pause()

        def test_after_all_that():
            pass
        """
    )

    result = run(pytester, "--color=no")

    result.assert_outcomes(failed=5, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ test_killed?contender-0-of-?? _*",
            "contender-1 (process *) was killed by SIGKILL; 3 of 3 contenders failed.",
            "contender-0 (process *) failed.",
            "contender-1 (process *) was killed by SIGKILL and did not come to barrier 'end'.",
            "*Captured output contender-1 call*",
            "said by 1",
            "*Timeline of the race*",
            "contender-1 install*▶*no end",
            "*_ test_wrong?contender-0-of-?? _*",
            "contender-0 (process *) failed; 1 of 2 contenders failed.",
            "E       AssertionError: not the one",
            "*_ test_left?contender-0-of-?? _*",
            "contender-0 (process *) ended its process with exit code 7; 1 of 2 contenders failed.",
            "*_ test_late?contender-0-of-?? _*",
            "contender-0 (process *) failed; 2 of 2 contenders failed.",
            "Not at barrier 'alone' within 0.1 s: contender-1 (process *). 1 of 2 contenders were there.",
            "contender-0 (process *) failed and did not come to barrier 'elsewhere'.",
            "*_ test_for_ever?contender-0-of-?? _*",
            "contender-0 * was killed because it had not ended after 0.5 s (cosmos_race(*timeout=*) allows more); 1 *",
        ]
    )
