"""The checksum in a Variable is found in whatever form it was stored, and where projects stand."""

from __future__ import annotations

import hashlib
import json

import pytest

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.seeds.dag_file import Place, read_places
from pytest_cosmos_venv.seeds.variables import holds_checksum, with_checksum

OLD = hashlib.sha256(b"old").hexdigest()
NEW = hashlib.sha256(b"new").hexdigest()


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        pytest.param(OLD, NEW, id="bare"),
        pytest.param(OLD[:32], NEW, id="md5"),
        pytest.param(f"sha256:{OLD}", f"sha256:{NEW}", id="with-a-prefix"),
        pytest.param(f'"{OLD}"', f'"{NEW}"', id="a-json-text"),
        pytest.param("1" * 32, NEW, id="digits-that-json-takes-for-a-number"),
        pytest.param(OLD.upper(), NEW.upper(), id="upper-case"),
        pytest.param("no checksum", None, id="none"),
        pytest.param("f" * 200, None, id="too-long-for-any"),
    ],
)
def test_the_checksum_of_a_text_is_replaced(stored: str, expected: str | None) -> None:
    assert with_checksum(stored, NEW) == expected


@pytest.mark.parametrize("stored", [NEW, NEW.upper(), json.dumps({"of": NEW})])
def test_a_checksum_is_found_in_whatever_way_it_is_written(stored: str) -> None:
    assert (holds_checksum(stored, NEW), holds_checksum(stored, OLD)) == (True, False)


def test_places_are_dags_and_groups() -> None:
    assert read_places(["harbor", "port/north", "port/south/inner"]) == (
        Place(dag_id="harbor"),
        Place(dag_id="port", groups=("north",)),
        Place(dag_id="port", groups=("south", "inner")),
    )
    assert read_places("harbor") == (Place(dag_id="harbor"),)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([], "at least one"),
        (["a", "a"], "each place once"),
        (["a/"], "'a/'.*'port/north' for a DbtTaskGroup"),
        (["a", "a/b"], "'a' alone is a DbtDag, which holds no other groups"),
    ],
)
def test_places_that_cannot_be_are_refused(places: list[str], message: str) -> None:
    with pytest.raises(ToolkitMisuse, match=message):
        read_places(places)
