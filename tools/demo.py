"""The demo: it runs the example DAG end to end on an Airflow of its own, and shows what happened.

Started by `make demo` with the Python of `.demo/<Python>/venv`, which holds Airflow and cosmos-venv but no dbt.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from tools.demo_airflow import DemoFailed, Place, building_ahead, load, migrate, run, set_up, warming_up
from tools.demo_builds import showing_builds
from tools.demo_display import Display, TaskOutcome, rows_table, seconds_line, tasks_table

ROOT = Path(__file__).resolve().parent.parent
ROWS = 6


def rows_of(database: Path, table: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The first rows of a table, read without keeping anybody from writing."""
    import duckdb

    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute(f'select * from "{table}" limit {ROWS}')  # noqa: S608 - a name of our own
        return [column[0] for column in found.description or ()], found.fetchall()


def show(place: Place, display: Display, *, installing: float) -> None:
    """The demo from the import of Airflow to the last table.

    :raises DemoFailed: when the DAG cannot be loaded or a task fails.
    """
    display.seconds.update({"install": installing})
    with display.stage("Airflow", "Airflow: import it, have its SQLite database ready"):
        migrate(place)
        from airflow import __version__ as airflow_version
    parse = display.stage("parse", "DAG file: dbt ls in the managed environment, which is built if missing")
    with showing_builds(display), parse, warming_up():
        dag = load(place)
    display.seconds["parse"] -= display.seconds.get("environment", 0.0)
    tasks = display.stage("tasks", f"DAG {dag.dag_id!r}: {len(dag.tasks)} tasks, one after the other")
    with tasks, building_ahead(place):
        outcomes, reasons = run(dag, display)
    title = f"DAG {dag.dag_id!r} on Airflow {airflow_version}, Python {platform.python_version()}"
    display.console.print("", tasks_table(outcomes, title=title))
    refuse_failures(outcomes, reasons)


def refuse_failures(outcomes: Sequence[TaskOutcome], reasons: dict[str, str]) -> None:
    """Raises DemoFailed unless every task succeeded."""
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    if failed:
        texts = [f"Task {each.task_id} failed:\n{reasons.get(each.task_id, 'see the log')}" for each in failed]
        raise DemoFailed("\n\n".join(texts))
    unfinished = [outcome.task_id for outcome in outcomes if outcome.state != "success"]
    if unfinished or not outcomes:
        raise DemoFailed(f"These tasks did not succeed: {', '.join(unfinished) or 'there were none'}.")


def show_rows(place: Place, display: Display, table: str) -> None:
    if place.database.exists():
        columns, rows = rows_of(place.database, table)
        display.console.print("", rows_table(columns, rows, title=f"The first rows of {table}, a model of the project"))


def show_ways_on(place: Place, display: Display, table: str) -> None:
    python = shown(Path(sys.executable))
    query = f"import duckdb; duckdb.connect('{shown(place.database)}').sql('from {table}')"
    for label, way in (
        (
            "The same DAG in Airflow's own UI",
            f"make demo-ui PYTHON=python{platform.python_version().rpartition('.')[0]}",
        ),
        ("The tables", f"{python}\n  >>> {query}"),
        ("The DAG files", shown(place.dags)),
        ("What dbt said in each task", shown(place.log)),
    ):
        display.console.print(Text.assemble((label, "bold"), f"\n  {way}"), soft_wrap=True)


def shown(path: Path) -> str:
    """The path, relative where it lies in the current folder."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def guarded(act: Callable[[], None], place: Place, display: Display) -> int:
    """0, or 1 with the reason on the terminal: standard error is the log file by now."""
    try:
        act()
    except DemoFailed as failure:
        reason = str(failure)
    except Exception as error:  # whatever it is, the person at the terminal must see it
        logging.getLogger(__name__).exception("The demo ended.")
        reason = f"{type(error).__name__}: {error}"
    else:
        return 0
    display.console.print("\n[bold red]The demo failed.[/bold red]")
    display.console.print(reason, markup=False, soft_wrap=True)
    display.console.print(f"Everything that was said stands in {shown(place.log)}", markup=False, soft_wrap=True)
    return 1


def open_ui() -> None:
    """Airflow's all-in-one server in place of this process, until Ctrl-C."""
    print(
        "Airflow's UI will be at http://127.0.0.1:8080 (no password). Ctrl-C ends it; twice, if it lingers.", flush=True
    )
    os.execv(sys.executable, [sys.executable, "-m", "airflow", "standalone"])  # noqa: S606 - no shell is wanted


def arguments_of(argv: Sequence[str] | None) -> argparse.Namespace:
    tag = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser = argparse.ArgumentParser(description="Run the example DAG end to end and show what happened.")
    parser.add_argument("--started", type=float, default=time.time(), help="when make began, in epoch seconds")
    parser.add_argument(
        "--svg", type=Path, metavar="FILE", help="also save a picture of the terminal, where nothing has failed"
    )
    parser.add_argument("--ui", action="store_true", help="open Airflow's UI instead")
    parser.add_argument("--folder", type=Path, default=ROOT / ".demo" / tag, help="where everything is kept")
    parser.add_argument("--dags", type=Path, default=ROOT / "examples" / "dags", help="folder of the DAG files")
    parser.add_argument("--dag-id", default="harbor")
    parser.add_argument("--table", default="route_days", help="whose rows are shown")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 when every task succeeded, else 1 with the reason."""
    began, options = time.time(), arguments_of(argv)
    place = Place(folder=options.folder.resolve(), dags=options.dags.resolve(), dag_id=options.dag_id)
    set_up(place)
    if options.ui:
        open_ui()
    display = Display(place.log, record=options.svg is not None)

    def act() -> None:
        show(place, display, installing=began - options.started)
        show_rows(place, display, options.table)
        display.console.print("", seconds_line(display.seconds, total=time.time() - options.started), "", sep="\n")
        show_ways_on(place, display, options.table)

    status = guarded(act, place, display)
    if options.svg is not None and status == 0:
        display.save_svg(options.svg, title="make demo")
    return status


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # The server that dag.test() runs in this process takes more than a second to wind down, and keeps nothing.
    os._exit(status)
