"""The process that imports one DAG file, in an Airflow home of its own and without network, and writes its record.

It is no pytest process: a DAG file may change the process that imports it, and Python's hash seed holds for a whole
process. The starting process sets the environment variables, since Airflow and implementations read them on import.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import re
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.airflow.home_setup import HOME_VARIABLE
from pytest_cosmos_venv.dag_checks.projects_of_file import ProjectsOfFile, listed_by
from pytest_cosmos_venv.dag_checks.record import (
    NETWORK,
    PROCESS,
    CheckedTask,
    DagRecord,
    Effect,
    failed_record,
    to_json,
)
from pytest_cosmos_venv.dags import side_effects
from pytest_cosmos_venv.dags.cost import build_one_plain_dag
from pytest_cosmos_venv.dags.dag_files import built, file_builder
from pytest_cosmos_venv.dags.shape import dag_shape, known_fields
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.runs.loading import EnvironmentFolders

_FIELDS = (
    "select",
    "exclude",
    "selector",
    "models",
    "vars",
    "env",
    "py_requirements",
    "full_refresh",
    "retries",
    "pool",
)
# No process listens on this port: a client that uses the proxy is refused at once.
_NOWHERE = "http://127.0.0.1:9"
_OFFLINE = {
    "PIP_NO_INDEX": "1",
    "UV_OFFLINE": "1",
    **{name: _NOWHERE for proxy in ("http_proxy", "https_proxy", "all_proxy") for name in (proxy, proxy.upper())},
}
_NO_DBT = re.compile(r"dbt.{0,40}executable|executable.{0,40}dbt|No such file.*\bdbt\b", re.IGNORECASE | re.DOTALL)
_LIMIT = 30.0
_PLACES = ("fileloc", "relative_fileloc")


def main(arguments: Sequence[str]) -> None:
    """Import the DAG file of a request, and write its record.

    :param arguments: the file with the request: JSON with ``file``, ``output``, and what ``record_of`` takes.
    """
    request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    try:
        record = record_of(Path(request["file"]), roots=request["roots"], dbt=request["dbt"])
    except (Exception, SystemExit, ToolkitMisuse):  # noqa: BLE001 - the record tells it
        record = failed_record(f"The check itself failed:\n{traceback.format_exc()}")
    Path(request["output"]).write_text(to_json(record), encoding="utf-8")
    # Do not wait for threads and processes that the file has started.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def record_of(file: Path, *, roots: Sequence[str], dbt: str | None) -> DagRecord:
    """Import a DAG file, and return its record.

    :param file: the DAG file.
    :param roots: import roots of the implementations that it may use.
    :param dbt: the dbt that lists nodes, on DuckDB; empty: the import ends before nodes are listed; None: the file's
        own dbt lists them.
    """
    build_one_plain_dag()
    # Imported after Airflow, which imports this module itself, as its secrets backend.
    from pytest_cosmos_venv.dag_checks.fake_connections import ASKED

    projects = ProjectsOfFile()
    os.environ.update(_OFFLINE)
    # The audit hook that refuses is added after the hook that watches: later hooks do not see refused events.
    home = Path(os.environ[HOME_VARIABLE])
    with (
        file_builder(file) as build,
        side_effects.watching() as watch,
        _no_network(),
        listed_by(dbt, roots, folder=home / "profiles"),
        _environments_below(home / "environments", roots),
    ):
        started = time.perf_counter()
        with projects.noted(roots, watch, ASKED):
            dags, error = built(build)
        seconds = time.perf_counter() - started
        effects = _effects(watch, ASKED, projects)
        if error is None:
            found = _described(dags, projects)
            again, error_again = built(build)
            forms = {"": f"The second import fails:\n{error_again}"} if error_again else _forms(again)
            found = replace(found, again=forms)
        else:
            found = replace(failed_record(error), needs=None if dbt else _needs(error, watch, projects))
    return replace(
        found,
        loads_by_dbt_ls=projects.load_by_dbt_ls,
        seconds=seconds,
        limit=_limit(),
        effects=effects,
    )


@contextmanager
def _environments_below(folder: Path, roots: Sequence[str]) -> Iterator[None]:
    """Within the block, let a file that loads by ``dbt ls`` build its environments in a folder.

    A check once installed a dbt from uv's cache into the ``virtualenv_dir`` of the user's Airflow.
    """
    folders = EnvironmentFolders(folder)
    with ExitStack() as stack:
        for root in roots:
            stack.enter_context(folders.used_by(importlib.import_module(f"{root}.config").ExecutionConfig))
        yield


@contextmanager
def _no_network() -> Iterator[None]:
    is_on = [True]

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if not is_on:
            return
        if event in side_effects.LOOKUPS:
            name = side_effects.host_looked_up(arguments[0])
            if name is not None:
                raise socket.gaierror(socket.EAI_FAIL, f"pytest --cosmos-dags has no network: {name}")
        elif event in side_effects.SENDS and isinstance(arguments[1], tuple):
            place = ":".join(map(str, arguments[1][:2]))
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"pytest --cosmos-dags has no network: {place}")

    sys.addaudithook(refuse)
    try:
        yield
    finally:
        is_on.clear()  # an audit hook cannot be removed


def _effects(watch: side_effects.Watch, asked: Sequence[Effect], projects: ProjectsOfFile) -> tuple[Effect, ...]:
    """Return the side effects of the file. Processes and Variables of ``dbt ls`` do not count: the load method needs
    them.
    """
    known = {id(each) for each in projects.of_dbt_ls}
    found = [each for each in asked if id(each) not in known]
    for effect in watch.side_effects:
        kind = {side_effects.CONNECTION: NETWORK, side_effects.PROCESS: PROCESS}.get(effect.kind)
        is_local = effect.kind == side_effects.CONNECTION and effect.place.startswith(("/", "\0"))
        if kind is not None and not is_local and (kind == NETWORK or id(effect) not in known):
            found.append(Effect(kind=kind, what=effect.what, where=effect.where))
    return tuple(dict.fromkeys(found))


def _needs(error: str, watch: side_effects.Watch, projects: ProjectsOfFile) -> str | None:
    """Return what is missing if an import failed before dbt could list nodes; None for any other failure."""
    name = projects.failed_in_dbt_ls
    if name is None:
        return None
    started = [effect.what for effect in watch.side_effects if effect.kind == side_effects.PROCESS]
    has_installed = any(re.search(r"\b(pip|uv|venv)\b", each) for each in started)
    has_listed = any(re.search(r"\bdbt\b.*\b(ls|deps)\b", each) for each in started)
    # An implementation may remember a failed installation, and then starts no installer.
    is_missing = has_installed or "install" in error
    if (is_missing and not has_listed) or _NO_DBT.search(error):
        return f"{name} loads by dbt ls, and no dbt is there to list its nodes"
    return None


def _limit() -> float:
    from airflow.configuration import conf

    return float(conf.getfloat("core", "dagbag_import_timeout", fallback=_LIMIT))


def _described(dags: Sequence[Any], projects: ProjectsOfFile) -> DagRecord:
    return DagRecord(
        tasks={dag.dag_id: {name: _task(task) for name, task in dag.task_dict.items()} for dag in dags},
        projects=projects.described(dags),
        shape="\n".join(dag_shape(dag).text for dag in sorted(dags, key=lambda dag: str(dag.dag_id))),
        forms=_forms(dags),
        again={},
    )


def _task(task: Any) -> CheckedTask:
    return CheckedTask(
        upstream=tuple(sorted(task.upstream_task_ids)),
        outlets=tuple(uri for uri in map(_uri, getattr(task, "outlets", None) or ()) if uri),
        emits=bool(getattr(task, "emit_datasets", False)),
    )


def _uri(outlet: Any) -> str | None:
    uri = getattr(outlet, "uri", None)
    return uri if isinstance(uri, str) else None


def _forms(dags: Sequence[Any]) -> dict[str, str]:
    """Return each DAG as text: its shape and its serialized form, by which Airflow tells versions apart."""
    return {dag.dag_id: "\n".join([_shape(dag), *_stored(dag)]) for dag in dags}


def _shape(dag: Any) -> str:
    try:
        return dag_shape(dag, fields=known_fields(dag, _FIELDS)).text
    except ToolkitMisuse:  # a value that is no plain data
        return dag_shape(dag).text


def _stored(dag: Any) -> list[str]:
    module = importlib.import_module("airflow.serialization.serialized_objects")
    kind = getattr(module, "DagSerialization", None) or module.SerializedDAG
    try:
        stored = kind.to_dict(dag)
    except Exception as error:  # noqa: BLE001 - Airflow refuses the DAG in its own way, each time it parses it
        return [f"Airflow cannot store it: {type(error).__name__}: {error}"]
    return [json.dumps(_in_order(stored), indent=1, sort_keys=True, default=repr)]


def _in_order(value: Any) -> Any:
    """Return serialized data with tasks and sets in one order, and without file locations."""
    if isinstance(value, dict):
        # Leave out file locations: Airflow takes them from the innermost call, at the first import that of a wrapper.
        return {name: _in_order(each) for name, each in value.items() if name not in _PLACES}
    if isinstance(value, (list, tuple)):
        items = [_in_order(each) for each in value]
        if items and all(isinstance(each, dict) and _task_id(each) for each in items):
            return sorted(items, key=_task_id)
        return items
    if isinstance(value, (set, frozenset)):
        return sorted((_in_order(each) for each in value), key=repr)
    return value


def _task_id(stored: dict[str, Any]) -> str:
    inner = stored.get("__var", stored)
    return str(inner.get("task_id", "")) if isinstance(inner, dict) else ""


if __name__ == "__main__":
    main(sys.argv[1:])
