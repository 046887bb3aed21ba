"""The records that the lines of a journal make."""

from __future__ import annotations

import msgspec
import pytest

from cosmos_venv.dbt.log_lines import NodeOutcome
from cosmos_venv.operators.run.journal_record import Line, TryRecord, line_of, newest, packed, unpacked

NODE = "model.shop.orders"
DONE = {NODE: NodeOutcome("success", 1)}


def record(*lines: Line, done: dict[str, NodeOutcome] | None = None) -> TryRecord:
    found = TryRecord(number=2, max_tries=3, outcomes=dict(done or {}))
    for line in lines:
        found.take(line)
    return found


def test_the_last_word_of_dbt_counts_and_its_artifacts_keep_the_text_of_the_event() -> None:
    event = Line(id=NODE, outcome=NodeOutcome("success"), at=9.5, text="1 of 1 OK")
    row = Line(id=NODE, outcome=NodeOutcome("success", seconds=1.5, rows=3))

    found = record(Line(id=NODE, text="1 of 1 START", at=8.0), event, row)

    assert found.outcomes == {NODE: NodeOutcome("success", 2, "1 of 1 OK", 1.5, 3)}
    assert found.written == 9.5


def test_what_an_earlier_try_has_done_and_runs_again_is_unknown_until_it_ends() -> None:
    """The same try has begun twice, and the second time it takes over less."""
    again = Line(begun=TryRecord(number=2, max_tries=3))

    assert record(Line(id=NODE, outcome=NodeOutcome("success")), again).outcomes == {}
    assert record(again, Line(id=NODE, outcome=NodeOutcome("success"))).outcomes == {NODE: NodeOutcome("success", 2)}


def test_the_end_of_a_try_is_its_own_line() -> None:
    assert record(Line(end="failed"), done=DONE) == TryRecord(number=2, max_tries=3, end="failed", outcomes=DONE)
    assert record().end == ""


@pytest.mark.parametrize(
    ("number", "last", "end", "is_last"),
    [(1, 0, "", True), (1, 1, "", False), (2, 1, "failed", True), (1, 1, "success", True), (1, 1, "failed", False)],
)
def test_a_try_is_the_last_where_airflow_makes_no_other(number: int, last: int, end: str, is_last: bool) -> None:
    assert TryRecord(number=number, max_tries=last, end=end).is_last is is_last


def test_a_record_comes_back_from_its_text() -> None:
    found = record(Line(end="failed"), done=DONE)

    assert unpacked("one", packed("one", found)) == found
    assert unpacked("two", packed("one", found)) is None, "of another run"


@pytest.mark.parametrize("text", ["", "no base64!", "é", "bm8gemxpYg==", None, 7, packed("one", record())[:-4]])
def test_a_text_of_somebody_else_has_no_record(text: object) -> None:
    assert unpacked("one", text) is None


def test_a_message_is_cut() -> None:
    found = record(
        Line(id=NODE, outcome=NodeOutcome("error", message="why " * 1_000)), Line(end="failed", why="w" * 2_000)
    )

    assert (found.outcomes[NODE].message, found.why) == ("why " * 250, "w" * 1_000)


@pytest.mark.parametrize("value", ["9" * 1_000, '"many"', "[1]"])
def test_a_line_of_somebody_else_says_nothing(value: str) -> None:
    """It would end the producer, which reads what its earlier tries have left."""
    assert line_of(f'{{"id": "{NODE}", "outcome": ["success", 1, "", {value}]}}') == Line()
    assert line_of(f'{{"id": "{NODE}", "outcome": ["success"], "at": {value}}}') == Line()


def test_the_newest_try_counts_whoever_tells_of_it() -> None:
    """The files of a host end where a try has gone on on another one."""
    first, second = (
        TryRecord(number=1, max_tries=1, written=9.0, outcomes=DONE),
        TryRecord(number=2, max_tries=1, written=6.0),
    )

    assert newest(first, second) == newest(second, first) == second
    assert newest(None, first) == first
    assert newest(None) is None


def test_of_one_try_the_newer_record_counts_however_little_it_says() -> None:
    """A copy that was published a second ago still says that a node is done which has to run again."""
    published = TryRecord(number=2, max_tries=3, written=6.0, outcomes=DONE)
    of_this_host = TryRecord(number=2, max_tries=3, written=7.0)

    assert newest(of_this_host, published) == newest(published, of_this_host) == of_this_host


def test_a_line_comes_back_from_its_text() -> None:
    line = Line(at=1.0, begun=TryRecord(number=2, max_tries=3, outcomes=DONE))

    assert line_of(msgspec.json.encode(line)) == line
