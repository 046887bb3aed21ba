"""The memory of a seed, its key, and the reading of a Variable of any content."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from cosmos_venv.operators.seeds.seed_state import (
    Remembered,
    Scope,
    begin_load,
    decoded,
    encoded,
    end_load,
    recall,
    remember,
)
from pytest_cosmos_venv import CosmosAirflow

ZEROS = "0" * 64
SEED = "seed.harbor.piers"
WARN = logging.getLogger(__name__).warning


def scope(dag: str, group: str | None = None, seed: str = SEED, index: int | None = None) -> Scope:
    return Scope(dag_id=dag, group_id=group, seed=seed, map_index=index)


def test_no_two_scopes_share_a_key() -> None:
    scopes = [
        scope("x", "y__z"),
        scope("x__y", "z"),
        scope("x.y", "z"),
        scope("x", "y.z"),
        scope("x__y"),
        scope("x", "y"),
        scope("x.y"),
        scope("x", ""),
        scope("x"),
        scope("X"),
        scope("x", seed="seed.a.piers"),
        scope("x", seed="seed.b.piers"),
        scope("x", index=0),
        scope("x", index=1),
        # Equal in what a person sees, and as a joined text.
        scope(f"{'d' * 60}__{'g' * 60}", f"{'g' * 60}h"),
        scope("d" * 60, f"{'g' * 60}__{'g' * 60}h"),
        *(scope("d" * 249 + last, "g" * 249, "seed.p." + "s" * 240) for last in "ab"),
    ]

    assert len({each.key for each in scopes}) == len(scopes)


def test_a_key_fits_into_airflows_table_and_says_whose_it_is() -> None:
    assert scope("nightly", "port.north").key.startswith("cosmos_venv_seed__nightly.port.north.piers__")
    assert len(scope("d" * 250, "g" * 250, "seed.p." + "s" * 250, 10**6).key) <= 250
    assert scope("häfen/ö").key.isascii()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(None, None, id="nothing"),
        pytest.param(ZEROS, Remembered(checksum=ZEROS), id="bare"),
        pytest.param(f" {'AB' * 32}\n", Remembered(checksum="ab" * 32), id="bare-by-hand"),
        pytest.param(encoded(scope("x"), Remembered(checksum=ZEROS)), Remembered(checksum=ZEROS), id="json"),
        *(
            pytest.param(text, None, id=f"damaged-{number}")
            for number, text in enumerate(
                [
                    "",
                    "junk",
                    "0" * 65,
                    "[]",
                    f'{{"algorithm": "md5", "checksum": "{ZEROS}"}}',
                    '{"algorithm": "sha256", "checksum": 17}',
                ]
            )
        ),
    ],
)
def test_a_value_is_read_or_as_good_as_nothing(text: str | None, expected: Remembered | None) -> None:
    assert decoded(text) == expected


def test_a_value_says_what_run_has_loaded_what_and_when() -> None:
    text = encoded(scope("x", "y"), Remembered(checksum=ZEROS, run_id="night", time="2026-01-01T00:00:00+00:00"))

    assert json.loads(text) == {
        "algorithm": "sha256",
        "checksum": ZEROS,
        "run_id": "night",
        "time": "2026-01-01T00:00:00+00:00",
        "dag_id": "x",
        "group_id": "y",
        "map_index": None,
        "seed": SEED,
    }


def test_an_outage_of_the_store_is_a_warning(cosmos_airflow: CosmosAirflow, caplog: pytest.LogCaptureFixture) -> None:
    with cosmos_airflow.variables.outage(), caplog.at_level("WARNING"):
        remember(scope("x"), ZEROS, "night", WARN)
        assert recall(scope("x"), WARN) is None

    assert f"The Variable {scope('x').key} cannot be written" in caplog.text


@pytest.mark.parametrize(
    ("steps", "is_remembered"),
    [
        pytest.param("begin-a end-a", True, id="alone"),
        pytest.param("begin-a", False, id="under-way"),
        pytest.param("begin-a fail-a", False, id="failed"),
        pytest.param("begin-a begin-a end-a", True, id="killed-and-tried-again"),
        pytest.param("begin-a begin-b end-b", False, id="killed-and-another-run"),
        pytest.param("begin-a begin-b end-b begin-c end-c", True, id="killed-and-two-other-runs"),
        pytest.param("begin-a begin-b end-a end-b", False, id="two-at-once"),
        pytest.param("begin-a begin-b fail-a end-b", False, id="two-at-once-and-the-first-fails"),
        pytest.param("begin-a end-a begin-b fail-b", False, id="failed-after-a-success"),
    ],
)
def test_a_load_is_remembered_where_no_other_one_may_have_written_the_table_last(
    steps: str,
    *,
    is_remembered: bool,
    cosmos_airflow: CosmosAirflow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not cosmos_airflow.variables.values
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path))
    for step in steps.split():
        what, _, run_id = step.partition("-")
        if what == "begin":
            begin_load(scope("x"), run_id, recall(scope("x"), WARN), WARN)
        else:
            end_load(scope("x"), run_id, ZEROS if what == "end" else None, WARN)

    found = recall(scope("x"), WARN)
    assert (found is not None and found.checksum == ZEROS) is is_remembered
