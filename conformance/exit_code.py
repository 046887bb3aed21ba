"""What does the exit code of a run say? Whether there is a verdict, and which."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_cosmos_venv import SuiteExit

from .judging import Judgement, Verdict


def is_broken(found: Sequence[Judgement]) -> bool:
    """Whether the suite itself failed somewhere."""
    return any(each.verdict is Verdict.HARNESS_ERROR for each in found)


def gap(found: Sequence[Judgement], deselected: int) -> str | None:
    """Why a run gives no verdict; None where it gives one.

    :param deselected: how many checks the user's options left out.
    """
    if is_broken(found):
        return "The suite itself failed"
    if deselected:
        return f"The given options left out {deselected} check(s)"
    # What this machine cannot judge was come to all the same: it is named, and the run is whole but for it.
    return None if all(each.seen for each in found) else "The run ended before all was judged"


def ending(reason: str, exit_code: int) -> str:
    """What a run with a gap says at its end.

    :param reason: as ``gap`` gives it.
    """
    if exit_code == pytest.ExitCode.TESTS_FAILED:
        return f"{reason}: the rest is unknown, and what was judged fails the run all the same (exit code 1)."
    return f"{reason}: no verdict (exit code {exit_code})."


def suite_exit_code(exitstatus: int, *, smoke_failed: bool, failed: bool = False, has_gap: bool = False) -> int:
    """The exit code of a run: pytest's own, unless the run says nothing about the implementation.

    :param exitstatus: pytest's.
    :param failed: whether a requirement failed that counts at the level which was asked for.
    :param has_gap: whether something was left out or cut off, or the suite itself failed.
    """
    if smoke_failed:
        return SuiteExit.SMOKE_FAILED
    if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        return int(exitstatus)
    if failed:
        return int(pytest.ExitCode.TESTS_FAILED)
    if has_gap or exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        return SuiteExit.INCOMPLETE
    return int(pytest.ExitCode.OK)
