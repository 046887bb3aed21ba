"""The releases of dbt that are tested are skipped for the reason that they are not there for."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from tests.engines import ENGINES, OLD_ENGINES
from tools.bootstrap import OTHER_DBTS


@pytest.mark.parametrize("is_ci", [True, False])
def test_a_release_that_this_python_has_none_of_is_skipped_in_ci_too(
    is_ci: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.engines.IS_CI", is_ci)
    old = replace(OLD_ENGINES[0], below=sys.version_info[:2])

    with pytest.raises(pytest.skip.Exception, match=rf"^dbt 1\.5 has no release for Python 3\.{sys.version_info[1]}$"):
        old.require()


def test_another_release_that_was_not_fetched_is_skipped_but_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = replace(ENGINES[0], wheels=ENGINES[0].wheels / "missing")

    monkeypatch.setattr("tests.engines.IS_CI", True)
    missing.require()
    monkeypatch.setattr("tests.engines.IS_CI", False)
    with pytest.raises(pytest.skip.Exception, match="make test fetches it"):
        missing.require()


def test_the_releases_are_skipped_for_the_pythons_for_which_no_wheels_are_fetched() -> None:
    bounds = {each.wheels.name.removeprefix("wheelhouse-"): each.below for each in (*OLD_ENGINES, *ENGINES)}

    assert {name: bounds[name] for name in OTHER_DBTS} == OTHER_DBTS
