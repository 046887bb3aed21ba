"""The measured figures in README.md and on the pages of the site, from the stored results of the benchmarks.

    .venv/bin/python -m tools.figures

Writes the table of README between its two marks; a test fails where the table is not that of the results. A page says
{measured}`NAME`, and the build of the site puts the figure there. No figure is typed by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, ROOT

PAGE = ROOT / "README.md"
BEGIN, END = "<!-- figures of benchmarks/results: make figures writes them -->", "<!-- end of the figures -->"
_HEAD = "| | the work beneath | Cosmos 1.15.1 | cosmos-venv | |\n|---|---|---|---|---|"
_UNITS = {"ms": 0.001, "s": 1.0}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    :param label: what was measured, in words for a reader.
    :param result: the file of the stored result, without its suffix.
    :param what: the row of that result.
    :param ours, theirs: the words before the figures of cosmos-venv and of Cosmos; empty: the row's first figure.
    :param floor: the words before the figure of the bare work, and its name for a reader; empty: the row has no such
        figure.
    """

    label: str
    result: str
    what: str
    ours: str
    theirs: str
    floor: tuple[str, str] = ("", "")


ROWS = (
    Row(
        label="one task of a small project, its environment ready",
        result="warm",
        what="small project, warm task over bare dbt",
        ours="ours",
        theirs="cosmos virtualenv with uv",
        floor=("bare dbt", "bare dbt"),
    ),
    Row(
        label="one task of a project of 1,000 models",
        result="warm",
        what="1,000 models, warm task over bare dbt",
        ours="ours",
        theirs="cosmos virtualenv with uv",
        floor=("bare dbt", "bare dbt"),
    ),
    Row(
        label="a whole DAG in virtual environments, on a scheduler",
        result="makespan",
        what="makespan beyond Airflow's own share, of Cosmos VIRTUALENV with uv",
        ours="VIRTUALENV, warm",
        theirs="Cosmos VIRTUALENV with uv",
        floor=("bash tasks of the same shape", "bash tasks"),
    ),
    Row(
        label="300 nodes in WATCHER mode",
        result="watcher",
        what="300 nodes watched, over bare dbt build and Airflow's share",
        ours="WATCHER",
        theirs="Cosmos WATCHER",
        floor=("bare dbt build", "bare dbt build"),
    ),
    Row(
        label="building a DAG of 1,000 models",
        result="dags",
        what="DAG build, 1,000 models, over astronomer-cosmos",
        ours="",
        theirs="astronomer-cosmos",
    ),
    Row(
        label="parsing in a worker for one task of 5,000 models",
        result="dags",
        what="parse for one task, 5,000 models, over astronomer-cosmos",
        ours="",
        theirs="astronomer-cosmos",
    ),
    Row(
        label="selecting `@x` from a manifest of 15,000 nodes",
        result="loading",
        what="select `@x`, of Cosmos's",
        ours="",
        theirs="Cosmos",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A figure in a sentence of a page.

    :param result: the file of the stored result, without its suffix.
    :param what: the row of that result.
    :param behind: the words before the figure; empty: the row's first figure. None: the ratio by which the row was
        judged.
    :param over: the row by whose figure this one is divided; empty: none.
    """

    result: str
    what: str
    behind: str | None = None
    over: str = ""


_LARGE = "1,000 models, valid partial_parse, one model"
MEASURED: Mapping[str, Measured] = {
    "a-hash-of-a-project": Measured(
        result="project-hash", what="2000 models, no file has changed, over a bare look at the files", behind="hash"
    ),
    "a-hash-over-a-look": Measured(
        result="project-hash", what="2000 models, no file has changed, over a bare look at the files"
    ),
    "a-kept-answer-of-dbt-ls": Measured(
        result="loading", what="second parse of 1,000 models with dbt ls, over parsing the JSON", behind="later"
    ),
    "an-idle-server": Measured(result="warm", what="memory of an idle server", behind=""),
    "explored": Measured(result="explore", what="0 kills", behind=""),
    "explored-with-a-kill": Measured(result="explore", what="1 kill", behind=""),
    "selecting": Measured(result="loading", what="select `@x`, of Cosmos's", behind=""),
    "warm-over-bare": Measured(result="warm", what="small project, dbt run of one model, warm"),
    "warm-over-bare-of-1000": Measured(result="warm", what=f"{_LARGE}, warm"),
}
"""Name on a page -> where the figure stands."""


def measured(name: str, results: Path = RESULTS) -> str:
    """The figure of ``MEASURED`` in words.

    :raises KeyError: there is none of this name.
    :raises ValueError: the stored result does not have it any more.
    """
    wanted = MEASURED[name]
    row = _row(wanted.result, wanted.what, results)
    if wanted.behind is None:
        return _ratio(row["judged"])
    if wanted.over:
        return _ratio(
            seconds_of(row["figures"], wanted.behind)
            / seconds_of(_row(wanted.result, wanted.over, results)["figures"], wanted.behind)
        )
    if no_time := re.match(r"[\d.,]+ (MB|schedules)\b", row["figures"]):
        return no_time.group()
    return in_words(seconds_of(row["figures"], wanted.behind))


def _row(result: str, what: str, results: Path) -> dict[str, Any]:
    rows: list[dict[str, Any]] = json.loads((results / f"{result}.json").read_text(encoding="utf-8"))["rows"]
    found = [each for each in rows if each["what"] == what]
    if len(found) != 1:
        raise ValueError(f"{result}.json has {len(found)} rows {what!r}")
    return found[0]


def _ratio(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2f}"


def seconds_of(figures: str, words: str) -> float:
    """The figure behind some words of a stored row: ``bare dbt 3.89 s`` -> 3.89. ValueError where there is none."""
    before = rf"(?:^|[,;:] ){re.escape(words)} " if words else "^"
    found = re.search(before + r"(?P<number>[\d.,]+) (?P<unit>ms|s)\b", figures)
    if found is None:
        raise ValueError(f"no figure behind {words!r} in {figures!r}")
    return float(found["number"].replace(",", "")) * _UNITS[found["unit"]]


def in_words(seconds: float) -> str:
    """The figure with two or three digits, in ms below one second, else in s."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s"


def line_of(row: Row, results: Path = RESULTS) -> str:
    """The row as a line of Markdown."""
    figures = _row(row.result, row.what, results)["figures"]
    ours, theirs = seconds_of(figures, row.ours), seconds_of(figures, row.theirs)
    words, told = row.floor
    beneath = f"{told} {in_words(seconds_of(figures, words))}" if words else ""
    times = theirs / ours
    cells = (row.label, beneath, in_words(theirs), in_words(ours), f"{times:.1f} x" if times < 10 else f"{times:.0f} x")
    return f"| {' | '.join(cells)} |"


def with_table(page: str, results: Path = RESULTS) -> str:
    """The page with the table between its marks. ValueError where it has no marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md needs a line {BEGIN} and a line {END}")
    lines = "\n".join(line_of(row, results) for row in ROWS)
    return f"{before}{BEGIN}\n\n{_HEAD}\n{lines}\n\n{END}{after}"


def main() -> int:
    """Write the page anew."""
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{PAGE}: {len(ROWS)} rows from {RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
