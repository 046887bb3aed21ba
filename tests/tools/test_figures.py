"""Tests of tools.figures: the measured figures that README shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.figures import BEGIN, END, MEASURED, PAGE, ROWS, in_words, line_of, measured, seconds_of, with_table


def test_readme_shows_the_stored_figures() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == with_table(page), "make figures writes them"
    assert page.count("| cosmos-venv |") >= 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param("", 0.0482, id="the-first"),
        pytest.param("Cosmos", 11.95, id="behind-a-semicolon"),
        pytest.param("WATCHER, triggers up", 1021.2, id="with-a-comma-in-it"),
    ],
)
def test_a_figure_stands_behind_its_words(words: str, expected: float) -> None:
    figures = "48.2 ms for 14,763 nodes; Cosmos 11.95 s, WATCHER, triggers up 1,021.2 s"

    assert seconds_of(figures, words) == pytest.approx(expected)


def test_words_that_are_part_of_others_are_not_taken() -> None:
    assert seconds_of("Cosmos WATCHER 72.1 s, WATCHER 5.9 s", "WATCHER") == pytest.approx(5.9)


def test_words_without_a_figure_are_an_error() -> None:
    with pytest.raises(ValueError, match="no figure behind 'dbt ls' in 'bare dbt 3 s'"):
        seconds_of("bare dbt 3 s", "dbt ls")


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.0301, "30 ms"), (0.65, "650 ms"), (15.733, "15.7 s"), (268.94, "269 s")]
)
def test_seconds_are_written_with_the_digits_that_matter(seconds: float, expected: str) -> None:
    assert in_words(seconds) == expected


def test_a_line_holds_the_floor_both_sides_and_the_ratio(tmp_path: Path) -> None:
    row = ROWS[0]
    stored = {"rows": [{"what": row.what, "figures": "ours 0.5 s; bare dbt 4 s, cosmos virtualenv with uv 9.0 s"}]}
    (tmp_path / f"{row.result}.json").write_text(json.dumps(stored), encoding="utf-8")

    assert line_of(row, tmp_path) == f"| {row.label} | bare dbt 4.0 s | 9.0 s | 500 ms | 18 x |"


@pytest.mark.parametrize("page", ["no marks", BEGIN, END])
def test_a_page_without_marks_is_an_error(page: str) -> None:
    with pytest.raises(ValueError, match=r"README\.md needs a line"):
        with_table(page)


@pytest.mark.parametrize(
    ("name", "rows", "expected"),
    [
        pytest.param("warm-over-bare", [("", 0.1462)], "0.15", id="what-it-was-judged-by"),
        pytest.param("a-hash-over-a-look", [("", 2.27)], "2.3", id="more-than-one"),
        pytest.param(
            "a-hash-of-a-project", [("hash 17.7 ms, a bare look at the files 7.8 ms", 2.27)], "18 ms", id="time"
        ),
        pytest.param("an-idle-server", [("130 MB; a dbt that has imported the same 116 MB", 1.1)], "130 MB", id="size"),
        pytest.param(
            "explored-in-kept-processes", [("463 schedules a second: 174 in 0.38 s", 0)], "463 schedules", id="count"
        ),
        pytest.param(
            "kept-project-over-warm", [("1 s; bare 8 s", 0.1), ("2.5 s; bare 8 s", 0.3)], "0.40", id="two-rows"
        ),
    ],
)
def test_a_figure_of_a_sentence_is_that_of_its_row(
    name: str, rows: list[tuple[str, float]], expected: str, tmp_path: Path
) -> None:
    wanted = MEASURED[name]
    stored = [
        {"what": what, "figures": figures, "judged": judged}
        for what, (figures, judged) in zip((wanted.what, wanted.over), rows, strict=False)
    ]
    (tmp_path / f"{wanted.result}.json").write_text(json.dumps({"rows": stored}), encoding="utf-8")

    assert measured(name, tmp_path) == expected


def test_a_row_that_is_gone_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "warm.json").write_text('{"rows": []}', encoding="utf-8")

    with pytest.raises(ValueError, match=r"warm\.json has 0 rows 'memory of an idle server'"):
        measured("an-idle-server", tmp_path)
