"""Which builds are to go: by age, count and bytes, what nobody can find first, never what is in use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from cosmos_venv.environments.maintenance.pruner import DAY, BuildState, PruneLimits, StoredBuild, choose
from cosmos_venv.exceptions import CosmosValueError

NOW = 1_000_000_000.0
MEBIBYTE = 1 << 20


def build(
    name: str, days: float = 0, state: BuildState = "ready", *, is_in_use: bool = False, folder: Path = Path("/nowhere")
) -> StoredBuild:
    return StoredBuild(
        name=f"{name * 64}-1",
        path=folder / name,
        state=state,
        is_in_use=is_in_use,
        last_used=NOW - days * DAY,
        record=None,
    )


def chosen(builds: Sequence[StoredBuild], **limits: float) -> str:
    """First letters of the names of what goes, in order."""
    given = PruneLimits(**{"max_age": 0, "max_count": 0, "min_age": DAY, **limits})  # type: ignore[arg-type]
    return "".join(each.stored.name[0] for each in choose(builds, given, now=NOW))


@pytest.mark.parametrize(
    ("builds", "limits", "expected"),
    [
        pytest.param([build("a", 400)], {}, "", id="no-limit"),
        pytest.param([build("a", 31), build("b", 29)], {"max_age": 30 * DAY}, "a", id="by-age"),
        pytest.param([build("a", 31, is_in_use=True)], {"max_age": 30 * DAY}, "", id="old-and-in-use"),
        pytest.param([build("a", 3), build("b", 9), build("c", 5)], {"max_count": 1}, "bc", id="by-count-oldest-first"),
        pytest.param([build("a", 3), build("b", 9, is_in_use=True)], {"max_count": 1}, "a", id="one-in-use-counts"),
        pytest.param([build("a", 0.9), build("b", 0.8)], {"max_count": 1}, "", id="too-young-for-count"),
        pytest.param([build("a", 0.9)], {"max_age": 1}, "", id="too-young-for-age"),
        pytest.param([build("a", -1), build("b", -2)], {"max_count": 1, "min_age": 0}, "", id="clock-went-back"),
        pytest.param(
            [build("a", 31), build("b", 3), build("c", 2)],
            {"max_age": 30 * DAY, "max_count": 2},
            "a",
            id="age-helps-count",
        ),
        pytest.param([build("a", 0, "old", is_in_use=True)], {}, "", id="old-generation-in-use"),
        pytest.param([build("b", 9), build("a", 0, "leftover")], {"max_age": DAY}, "ab", id="leftovers-first"),
        pytest.param([build("a", 90, "building", is_in_use=True)], {"max_age": DAY}, "", id="building"),
    ],
)
def test_what_goes(builds: list[StoredBuild], limits: dict[str, float], expected: str) -> None:
    assert chosen(builds, **limits) == expected


def test_the_environments_that_were_used_least_lately_go_until_the_rest_has_room(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(os.urandom(MEBIBYTE))

    def stored() -> list[StoredBuild]:
        return [build("a", 9, folder=tmp_path), build("b", 8, folder=tmp_path), build("c", 7, folder=tmp_path)]

    assert chosen(stored(), max_bytes=3.5 * MEBIBYTE) == ""
    assert chosen(stored(), max_bytes=1.5 * MEBIBYTE) == "ab"


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(CosmosValueError, match=r"max_count is -1: give 0 \(no limit\) or more"):
        PruneLimits(max_count=-1)
