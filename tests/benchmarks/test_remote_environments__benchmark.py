"""What `benchmarks.remote_environments` makes of what it has measured."""

from __future__ import annotations

from pathlib import Path

from benchmarks.remote_environments import Series, Taken, index_server, rows_of
from tests.installed import needs_dbt_wheels


def series(**seconds: float) -> Series:
    made = Series()
    for what, each in seconds.items():
        made.add(what, Taken(each, each * 2))
        made.add(what, Taken(each * 2, each * 4))
    return made


def test_a_promise_is_kept_by_the_ratio_in_one_round() -> None:
    rows = rows_of(series(fetch=1.0, warm=4.0, empty=5.0, bare=0.9))

    assert [row.is_kept for row in rows] == [True, True, False, False, True, True]
    assert rows[0].judged == 0.25
    assert rows[0].figures == "1.50 s, of 6.00 s (1.00, of 4.00 at best)"


@needs_dbt_wheels
def test_the_index_has_a_page_for_each_project(tmp_path: Path) -> None:
    with index_server(tmp_path):
        pages = {page.parent.name: page.read_text() for page in tmp_path.glob("simple/*/index.html")}

    assert 'href="dbt_core-' in pages["dbt-core"]
