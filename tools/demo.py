"""What does cosmos-venv do? Run the example DAG end to end on an Airflow of its own, and show what happened.

Started by `make demo` with the Python of `.demo/<Python>/venv`, which holds Airflow and cosmos-venv but no dbt.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from tools.demo_builds import showing_builds
from tools.demo_display import Display, TaskOutcome, rows_table, seconds_line, tasks_table

if TYPE_CHECKING:
    from airflow.sdk import DAG

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = "dags-folder"
ROWS = 6
REASON_LINES = 20


class DemoFailed(Exception):
    """What the person at the terminal reads before exit code 1."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where this demo keeps everything: a folder per Python version, beside the checkout."""

    folder: Path
    dags: Path
    dag_id: str

    @property
    def airflow_home(self) -> Path:
        return self.folder / "airflow"

    @property
    def database(self) -> Path:
        return self.folder / "harbor.duckdb"

    @property
    def log(self) -> Path:
        return self.folder / "logs" / f"{self.dag_id}.log"

    def variables(self) -> dict[str, str]:
        """What Airflow has to know, as environment variables; nothing of it is written to the user's own Airflow."""
        return {
            "AIRFLOW_HOME": str(self.airflow_home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(self.folder / "cache"),
            "AIRFLOW_CONN_HARBOR_DUCKDB": json.dumps({"conn_type": "duckdb", "host": str(self.database)}),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        }


def set_up(place: Place) -> None:
    """Point this process at the demo's Airflow; settings of another Airflow in the shell must not reach it."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        del os.environ[name]
    os.environ.update(place.variables())
    place.airflow_home.mkdir(parents=True, exist_ok=True)


def migrate(place: Place) -> None:
    """Make or upgrade Airflow's SQLite database, once for each version of Airflow."""
    from airflow import __version__
    from airflow.utils.db import initdb

    done_for = place.airflow_home / "migrated-to"
    if done_for.is_file() and done_for.read_text(encoding="utf-8") == __version__:
        return
    initdb()
    done_for.write_text(__version__, encoding="utf-8")


def load(place: Place) -> DAG:
    """Parse the DAG file as Airflow does, and make the DAG known to Airflow.

    :raises DemoFailed: when the file cannot be imported, with the end of the traceback.
    """
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    manager: Any = DagBundlesManager
    manager().sync_bundles_to_db()
    # No time-out: the first parse waits here until the managed environment is built, so that one can watch it.
    os.environ["AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"] = "0"
    bag = BundleDagBag(place.dags, bundle_path=place.dags, bundle_name=BUNDLE)
    for file, error in bag.import_errors.items():
        raise DemoFailed(f"{file} cannot be imported:\n{last_lines(error)}")
    if place.dag_id not in bag.dags:
        raise DemoFailed(f"There is no DAG {place.dag_id!r} in {place.dags}, only {sorted(bag.dags)}.")
    sync_bag_to_db(bag, BUNDLE, None)
    # dag.test() parses every configured bundle once more. It was done a moment ago, and dbt ls takes seconds.
    os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = "[]"
    return bag.dags[place.dag_id]


@contextmanager
def warming_up() -> Iterator[None]:
    """Meanwhile make ready the API server that dag.test() runs in this process: its first request takes seconds.

    What it needs is imported before the block; in its thread it only computes, while the block waits for dbt ls.
    """
    from airflow.sdk.api.client import Client
    from airflow.sdk.execution_time.supervisor import in_process_api_server

    server = in_process_api_server()

    def ask() -> None:
        # The client of Airflow's tasks: it asks for the version of the API that has to be put together.
        Client(base_url="http://in-process.invalid./", token="", transport=server.transport).get("health")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def run(dag: DAG, display: Display) -> tuple[list[TaskOutcome], dict[str, str]]:
    """Every task to its end, in this process. Returns what came of them, and why tasks failed."""
    reasons: dict[str, str] = {}

    def begins(context: Any) -> None:
        display.doing(f"running {context['task'].task_id}")

    def fails(context: Any) -> None:
        reasons[context["task"].task_id] = last_lines(str(context.get("exception") or "no reason given"))

    tasks: list[Any] = list(dag.tasks)
    for task in tasks:
        task.on_execute_callback = [*task.on_execute_callback, begins]
        task.on_failure_callback = [*task.on_failure_callback, fails]
    dag_run: Any = dag.test()
    instances = sorted(dag_run.get_task_instances(), key=lambda found: (found.start_date is None, found.start_date))
    outcomes = [
        TaskOutcome(
            task_id=found.task_id,
            operator=found.operator,
            dbt=next(iter(getattr(dag.get_task(found.task_id), "py_requirements", [])), "–"),
            state=str(found.state or "none"),
            seconds=found.duration,
        )
        for found in instances
    ]
    return outcomes, reasons


def rows_of(database: Path, table: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The first rows of a table, read without keeping anybody from writing."""
    import duckdb

    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute(f'select * from "{table}" limit {ROWS}')  # noqa: S608 - a name of our own
        return [column[0] for column in found.description or ()], found.fetchall()


def last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-REASON_LINES:])


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
    with display.stage("tasks", f"DAG {dag.dag_id!r}: {len(dag.tasks)} tasks, one after the other"):
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
        ("The DAG file", shown(place.dags)),
        ("What dbt said in each task", shown(place.log)),
    ):
        display.console.print(Text.assemble((label, "bold"), f"\n  {way}"), soft_wrap=True)


def shown(path: Path) -> str:
    """As short as a reader in the checkout can use it."""
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
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also save a picture of the terminal")
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
    if options.svg is not None:
        display.save_svg(options.svg, title="make demo")
    return status


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # The server that dag.test() runs in this process takes more than a second to wind down, and keeps nothing.
    os._exit(status)
