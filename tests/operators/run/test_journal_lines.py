"""The records that the lines of a journal make."""

from __future__ import annotations

from typing import Any

import pytest

from cosmos_venv.operators.run.journal_lines import Outcome, TryRecord, begun_try, line_of, merged, packed, unpacked

NODE = "model.shop.orders"
BEGUN = {"number": 2, "last": 3, "done": {NODE: ["success", 1]}}


def record(*lines: dict[str, Any], begun: dict[str, Any] | None = None) -> TryRecord:
    found = begun_try(begun or {**BEGUN, "done": {}})
    assert found is not None
    for line in lines:
        found.take(line)
    return found


def test_a_try_begins_with_what_is_done() -> None:
    assert record(begun=BEGUN) == TryRecord(number=2, last=3, outcomes={NODE: Outcome("success", 1)})


@pytest.mark.parametrize("line", [{}, {"id": NODE}, {"number": "x", "last": 1, "done": {}}, {**BEGUN, "done": [1]}])
def test_a_line_of_anything_else_begins_no_try(line: dict[str, Any]) -> None:
    assert begun_try(line) is None


def test_the_last_word_of_dbt_counts_and_its_artifacts_keep_the_text_of_the_event() -> None:
    event = {"id": NODE, "event": "LogModelResult", "is_end": True, "status": "success", "at": 9.5, "text": "1 of 1 OK"}
    row = {"id": NODE, "is_end": True, "status": "success", "seconds": 1.5, "rows": 3, "message": ""}

    found = record({"id": NODE, "event": "LogStartLine", "status": "started", "at": 8.0}, event, row)

    assert found.outcomes == {NODE: Outcome("success", 2, "1 of 1 OK", 1.5, 3)}


def test_what_an_earlier_try_has_done_and_runs_again_is_unknown_until_it_ends() -> None:
    assert record({"id": NODE, "status": ""}, begun=BEGUN).outcomes == {}


def test_what_this_try_has_done_stays_where_the_next_try_is_to_run_it_again() -> None:
    """What failed was no node: the task of the node has been told that it is done."""
    ended = {"id": NODE, "event": "LogModelResult", "is_end": True, "status": "success", "at": 9.5}

    assert record(ended, {"id": NODE, "status": ""}).outcomes[NODE].state == "success"


def test_the_end_of_a_try_is_its_own_line() -> None:
    assert record({"end": "failed"}).end == "failed"
    assert record().end == ""


@pytest.mark.parametrize(
    ("number", "last", "end", "is_last"),
    [(1, 0, "", True), (1, 1, "", False), (2, 1, "failed", True), (1, 1, "success", True), (1, 1, "failed", False)],
)
def test_a_try_is_the_last_where_airflow_makes_no_other(number: int, last: int, end: str, is_last: bool) -> None:
    assert TryRecord(number=number, last=last, end=end).is_last is is_last


def test_records_come_back_from_their_text() -> None:
    records = [record(begun=BEGUN), TryRecord(number=3, last=3, end="failed", outcomes={NODE: Outcome("error", 3)})]

    assert unpacked("one", packed("one", records)) == records
    assert unpacked("two", packed("one", records)) == [], "of another run"


@pytest.mark.parametrize("text", ["", "no base64!", "é", "bm8gemxpYg==", None, 7, packed("one", [])[:-4]])
def test_a_text_of_somebody_else_has_no_records(text: object) -> None:
    assert unpacked("one", text) == []


def test_messages_are_cut_where_they_would_be_too_long_to_be_read() -> None:
    messages = {f"{NODE}_{number}": Outcome("error", 1, "why " * 1_000) for number in range(4_000)}

    (found,) = unpacked("one", packed("one", [TryRecord(number=1, last=1, outcomes=messages)]))

    assert found.outcomes.keys() == messages.keys()
    assert {each.message for each in found.outcomes.values()} == {"why " * 20}


@pytest.mark.parametrize("name", ["at", "seconds", "rows"])
def test_a_number_of_a_thousand_digits_ends_nobody(name: str) -> None:
    line = line_of(f'{{"id": "{NODE}", "is_end": true, "status": "success", "number": 2, "{name}": {"9" * 1_000}}}')

    found = record(line, begun={**BEGUN, **{each: line[each] for each in ("at",) if each in line}})

    assert unpacked("one", packed("one", [found])) == [found]


def test_rows_of_another_kind_are_unknown() -> None:
    found = record({"id": NODE, "is_end": True, "status": "success", "rows": ["many"]})

    assert unpacked("one", packed("one", [found])) == [found]
    assert found.outcomes[NODE].rows is None


@pytest.mark.parametrize("text", ["", "{", "[1]", "7"])
def test_a_broken_line_says_nothing(text: str) -> None:
    assert line_of(text) == {}


def test_of_each_try_the_record_counts_that_knows_most() -> None:
    """The files of a host end where a try has gone on on another one."""
    done = Outcome("success", 1)
    here = [TryRecord(number=1, last=1, outcomes={NODE: done}), TryRecord(number=2, last=1, end="failed")]
    there = [TryRecord(number=1, last=1), TryRecord(number=2, last=1), TryRecord(number=3, last=1)]

    assert merged(here, there) == [*here, there[-1]]
    assert merged(there, here) == [*here, there[-1]]
    assert merged() == []


@pytest.mark.parametrize("of_this_host_first", [True, False])
def test_of_one_try_the_newer_record_counts_however_little_it_says(of_this_host_first: bool) -> None:
    """A copy that was published a second ago still says that a node is done which has to run again."""
    begun = {**BEGUN, "at": 5.0}
    published = record({"id": "model.shop.lines", "is_end": True, "status": "success", "at": 6.0}, begun=begun)
    of_this_host = record({"id": NODE, "status": "", "at": 7.0}, begun=begun)

    sources = ([of_this_host], [published]) if of_this_host_first else ([published], [of_this_host])

    assert merged(*sources) == [of_this_host]
    assert unpacked("one", packed("one", merged(*sources))) == [of_this_host]


def test_the_end_of_a_node_in_the_words_of_somebody_else_says_nothing() -> None:
    """It would end the producer, which reads what its earlier tries have left."""
    assert record({"id": NODE, "is_end": True, "status": "success", "seconds": "many"}).outcomes == {}
