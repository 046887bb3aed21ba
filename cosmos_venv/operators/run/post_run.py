"""All that follows a run of dbt: rendered fields, uploaded SQL, an XCom, the user's callbacks, assets, OpenLineage.

All of it happens while the folder in which dbt ran is still there, after a failed dbt too. Assets and OpenLineage are
best effort: dbt has done its work by then, so an error there is one warning. A task that fails gives no assets.
OpenLineage is imported only where Airflow's provider for it is active: its own processor reads dbt's artifacts while
they are there, and Airflow asks for the facets when the task ends.

The attributes of the operator, ``run.task``, decide which steps follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv import assets, compat, settings
from cosmos_venv.config.validation import is_template
from cosmos_venv.constants import NODES_XCOM
from cosmos_venv.dbt.log_lines import DONE_STATUSES, NodeOutcome
from cosmos_venv.dbt.project_files import profile_fields
from cosmos_venv.dbt.results import Artifacts
from cosmos_venv.exceptions import AirflowCompatibilityError, CosmosValueError
from cosmos_venv.files.read_limits import packed
from cosmos_venv.io import folder_of_sql, remote_target, upload_compiled_sql
from cosmos_venv.operators.parameters import callables
from cosmos_venv.operators.run.journal_record import rows_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.operators.run.dbt_run import DbtCommand, DbtRun

_UPDATING = (("build",), ("retry",), ("run",), ("seed",), ("snapshot",))
"""The commands that give assets. A test updates nothing."""
_LOOKING = ("source", "freshness")
"""The command that gives the assets of sources, where that is asked for."""

PRODUCER = "urn:cosmos-venv"
_MOST_ROWS = 500  # of an XCom that is pushed although nobody has asked for it


def refuse_impossible(task: Any) -> None:
    """Refuse, before dbt runs, requests that could not be fulfilled after it.

    :param task: the operator.
    :raises CosmosValueError: when its SQL is to be uploaded and nothing says where to.
    :raises AirflowCompatibilityError: when this Airflow cannot take assets in the way that the settings say.
    """
    if task.should_upload_compiled_sql:
        remote_target()
    if settings.enable_dataset_alias or not gives_assets(task):
        return
    if tuple(task.base_cmd) == _LOOKING:
        raise AirflowCompatibilityError(
            "[cosmos] enable_dataset_alias = False, and emit_source_assets=True: the asset of a source is given by an "
            "alias only. Drop one of the two."
        )
    if compat.ASSETS_NEED_AN_ALIAS:
        raise AirflowCompatibilityError(
            "[cosmos] enable_dataset_alias = False, and Airflow 3 takes assets of a running task by an alias only. "
            "Drop the setting, or say RenderConfig(emit_datasets=False), emit_datasets=False of an operator."
        )


def follow_up(run: DbtRun, command: DbtCommand, outcomes: Mapping[str, NodeOutcome], *, failed: bool) -> None:
    """Do everything that the operator's parameters ask for.

    :param run: the run.
    :param command: its command, which has ended.
    :param outcomes: of the nodes, by unique id. Nodes that earlier tries have built are among them: a try that fails
        gives no assets, so a later try gives them.
    :param failed: whether dbt has failed. Then an error here is a warning, and never hides dbt's own error.
    """
    # First: a callback of the user may remove or change the artifacts.
    _keep_events(run, command)
    if not failed:
        _give_assets(run, command, outcomes)
    for step in _steps(run, command, outcomes):
        try:
            step()
        except Exception as error:
            if not failed:
                raise
            run.task.log.warning("After dbt had failed: %s: %s", type(error).__name__, error)


def call_back_about_warnings(run: DbtRun, artifacts: Artifacts) -> None:
    """Call the operator's ``on_warning_callback`` with the nodes that have warned.

    :param run: the run.
    :param artifacts: the artifacts that dbt has left.
    """
    task = run.task
    given = getattr(task, "on_warning_callback", None)  # only commands that look at data have it
    if given is None:
        return
    if not artifacts.show_nodes:
        task.log.warning("on_warning_callback knows no warnings: dbt has written no results. Drop --no-write-json.")
    nodes = artifacts.warnings()
    if not nodes and not task.calls_back_without_warnings:
        return
    context = dict(run.context) | {
        "test_names": [name for name, _ in nodes],
        "test_results": [message for _, message in nodes],
    }
    for callback in callables("on_warning_callback", given):
        callback(context)


def _steps(run: DbtRun, command: DbtCommand, outcomes: Mapping[str, NodeOutcome]) -> Iterator[Callable[[], None]]:
    task = run.task
    if task.should_store_compiled_sql:
        yield partial(_show_fields, run, command.artifacts)
    if _uploads(task):
        yield partial(upload_compiled_sql, command.artifacts, run.context, report=task.log.info)
    if task.push_run_results_to_xcom:
        yield partial(_push_run_results, run, command.artifacts)
    if task.run_artifacts is not None:
        yield partial(_keep_part, run, command.artifacts)
    if task.push_node_rows and run.on_node is None:  # a batch has pushed its rows, and has more
        yield partial(push_rows, run, outcomes, command.artifacts)
    # The last step: a user's callback may take long, or fail.
    given: Any = task.callback
    for callback in given if isinstance(given, list | tuple) else [given]:
        yield partial(_call, run, command.place, callback)


def _show_fields(run: DbtRun, artifacts: Artifacts) -> None:
    task = run.task
    try:
        found = {"compiled_sql": artifacts.compiled_sql(), "freshness": artifacts.freshness()}
        if any(found.values()):
            vars(task).update(found)
            compat.show_rendered_fields(task, run.context)
    except Exception:
        # Shown by default, without being asked for, and dbt has done its work.
        task.log.warning("Compiled SQL cannot be shown among the rendered fields.", exc_info=True)


def _uploads(task: Any) -> bool:
    wanted: bool | None = task.should_upload_compiled_sql
    if wanted is not None:
        return wanted
    # dbt compile is run for its SQL. Without a remote_target_path the SQL is only in the rendered fields.
    return tuple(task.base_cmd) == ("compile",) and bool(settings.remote_target_path)


def _keep_part(run: DbtRun, artifacts: Artifacts) -> None:
    from cosmos_venv.operators.run.run_artifacts import keep_part  # few runs keep them

    try:
        keep_part(run.context, run.task.run_artifacts, artifacts)
    except OSError as error:
        # dbt has done its work, and a retry would do it twice. The last task knows the nodes by their XComs.
        run.task.log.warning("The results of this task are not kept for the artifacts of the run: %s", error)


def _push_run_results(run: DbtRun, artifacts: Artifacts) -> None:
    text = artifacts.text("run_results.json")
    if text is None:  # dbt ls and source freshness never write it, nor does any command with write_json=False
        command = " ".join(run.task.base_cmd)
        run.task.log.info("dbt %s has written no run_results.json: nothing is pushed as XCom.", command)
        return
    # An XCom is JSON, and a database has little room for it: run_results.json of 1,000 models is megabytes.
    run.context["ti"].xcom_push(key="run_results", value=packed(text.encode()))


def push_rows(run: DbtRun, outcomes: Mapping[str, NodeOutcome], artifacts: Artifacts) -> None:
    """Push the outcomes of nodes as an XCom of the task, failures first. An error is a warning: dbt has done its work.

    For the table of the whole run, each row has how dbt was started. Otherwise, only the first rows are pushed.

    :param run: the run.
    :param outcomes: by unique id.
    :param artifacts: the artifacts that dbt has left.
    """
    rows = sorted(_rows_with_sql(run, outcomes, artifacts), key=lambda row: row["status"] in DONE_STATUSES)
    if run.task.push_node_rows:
        # The task that reads them cannot mask the secrets of this task.
        rows = [{**row, "message": compat.masked(row["message"]), "started": run.how_started} for row in rows]
    else:
        rows = rows[:_MOST_ROWS]
    try:
        if rows and "ti" in run.context:
            run.context["ti"].xcom_push(key=NODES_XCOM, value=rows)
    except Exception as error:  # noqa: BLE001 - whatever Airflow's store raises
        run.task.log.warning("The table of nodes cannot be pushed as XCom: %s", error)


def _rows_with_sql(run: DbtRun, outcomes: Mapping[str, NodeOutcome], artifacts: Artifacts) -> list[dict[str, Any]]:
    """The outcomes of nodes as the value of an XCom, with ``compiled_path`` for failed and warned nodes with SQL.

    The path is the URL of the upload, or the file in a target folder of the user. Else the file is deleted with the
    workspace, and the path is dbt's own, which begins with ``target``.

    :param run: the run.
    :param outcomes: by unique id.
    :param artifacts: the artifacts that dbt has left.
    """
    rows = rows_of(outcomes)
    news = [each for each, found in outcomes.items() if found.has_news]
    files = artifacts.compiled(news) if news else {}
    if not files:
        return rows
    folder = str(artifacts.target) if artifacts.are_kept else artifacts.target.name
    if _uploads(run.task):
        folder = f"{settings.remote_target_path.rstrip('/')}/{folder_of_sql(run.context)}"
    paths = {each: f"{folder}/{file.relative_to(artifacts.target).as_posix()}" for each, file in files.items()}
    return [{**row, "compiled_path": paths[row["node"]]} if row["node"] in paths else row for row in rows]


def _call(run: DbtRun, place: Path, given: Callable[..., object] | str | None) -> None:
    for callback in callables("callback", given):
        run.task.log.info("Calling %s", getattr(callback, "__qualname__", callback))
        callback(str(place), **{**run.task.callback_args, "context": run.context})


def gives_assets(task: Any) -> bool:
    """Whether a task updates the assets of the dbt nodes that it runs, or of the sources that it checks.

    True too for a template, which only the running task renders.

    :param task: the operator.
    """
    base_cmd, emits = tuple(task.base_cmd), task.emit_datasets
    if not (is_template(emits) or compat.to_boolean(emits)):
        return False
    return bool(task.emit_source_assets) if base_cmd == _LOOKING else base_cmd in _UPDATING


def alias_name(task: Any) -> str:
    """The name of a task's alias, as in Cosmos: its DAG, its innermost group, itself. Outer groups are left out.

    :param task: the operator.
    """
    dag, group = task.get_dag(), task.task_group
    group_id = group.group_id if group else ""
    parts = (dag.dag_id if dag else None, (group_id or "").rpartition(".")[2], task.task_id.rpartition(".")[2])
    return "__".join(part for part in parts if part)


def _give_assets(run: DbtRun, command: DbtCommand, outcomes: Mapping[str, NodeOutcome]) -> None:
    """Give Airflow the assets of each node that has succeeded, or of each source with new data."""
    task = run.task
    if not gives_assets(task):
        return
    try:
        if tuple(task.base_cmd) == _LOOKING:
            _give_sources(run, command)
        else:
            _give_nodes(run, command, outcomes)
    except Exception as error:  # noqa: BLE001 - whatever it is: dbt has done its work
        task.log.warning("The assets of this task are not given to Airflow: %s: %s", type(error).__name__, error)


def _give_nodes(run: DbtRun, command: DbtCommand, outcomes: Mapping[str, NodeOutcome]) -> None:
    task = run.task
    found = _lineage(run, command.artifacts, outcomes)
    where = _namespace(task, command) if found.outlets else None
    if where is None:
        return
    inlets, outlets = asset_uris(where, found.inlets), asset_uris(where, found.outlets)
    task.log.info("Inlets: %s", inlets)
    give(task, run.context, {uri: {} for uri in outlets})


def _give_sources(run: DbtRun, command: DbtCommand) -> None:
    """Give the assets of the sources that were loaded since their last asset event. Airflow keeps the events."""
    from cosmos_venv.operators.run.source_freshness import has_new_data, loaded_at, of_event

    task = run.task
    sources = [source for source in command.artifacts.sources() if loaded_at(source)]
    manifest = command.artifacts.text("manifest.json")
    if manifest is None:
        task.log.warning(
            "The assets of the sources are not known: dbt has written no manifest.json. Drop --no-write-json."
        )
        return
    where = _namespace(task, command) if sources else None
    if where is None:
        return
    found = {}
    names = assets.tables([source.unique_id for source in sources], manifest)
    for source, uri in zip(sources, asset_uris(where, names), strict=True):
        if has_new_data(source, compat.newest_event_extras(compat.asset(uri))):
            found[uri] = of_event(source)
        else:
            task.log.info("%s has no new data since the last event of %s.", source.unique_id, uri)
    if found:
        give(task, run.context, found)


def asset_uris(where: str, names: Iterable[str]) -> list[str]:
    """The URIs of tables, in the form that this Airflow wants.

    :param where: OpenLineage's namespace.
    :param names: database, schema and name of each, with dots between them.
    """
    # Airflow 2 knows the datasets of DAG files by the older form, unless a setting says otherwise.
    has_slashes = compat.ASSET_URIS_HAVE_SLASHES or settings.enable_dataset_airflow3_uri
    return [assets.asset_uri(where, name, has_slashes=has_slashes) for name in names]


def _lineage(run: DbtRun, artifacts: Artifacts, outcomes: Mapping[str, NodeOutcome]) -> assets.Lineage:
    manifest = artifacts.text("manifest.json")
    if manifest is None or not artifacts.show_nodes:
        run.task.log.warning(
            "The assets of this task are not known: dbt has written no results, or no manifest.json. Drop "
            "--no-write-json, or say emit_datasets=False."
        )
        return assets.Lineage()
    return assets.lineage({each: found.status for each, found in outcomes.items()}, manifest)


def _namespace(task: Any, command: DbtCommand) -> str | None:
    config = task.profile_config
    field = profile_fields(
        command.profiles_yml, profile=config.profile_name, target=config.target_name, environment=command.env
    )
    where = assets.namespace(field)
    if where is None:
        task.log.info("No assets are given: OpenLineage has no name for where dbt's adapter %r writes.", field("type"))
    return where


def give(task: Any, context: Context | Mapping[str, Any], extras: Mapping[str, Mapping[str, Any]]) -> None:
    """Give assets to Airflow.

    :param task: the operator.
    :param context: Airflow's context of the task.
    :param extras: URI of each asset to the ``extra`` of its event.
    """
    task.log.info("Outlets: %s", list(extras))
    # The step that may fail comes first, so that the warning of the caller is true: no asset was given.
    found = {uri: compat.asset(uri) for uri in extras}
    if not settings.enable_dataset_alias:
        _push_uris(context, found.values())
        compat.add_outlets(task, found.values())
        return
    alias = compat.asset_alias(alias_name(task))
    events = compat.asset_events(context, alias)
    if events is None:  # the operator was called by hand
        return
    _push_uris(context, found.values())
    compat.add_outlets(task, [alias])
    for uri, asset in found.items():
        events.add(asset, extra=dict(extras[uri]))


def _push_uris(context: Context | Mapping[str, Any], found: Iterable[Any]) -> None:
    if settings.enable_uri_xcom and "ti" in context:
        context["ti"].xcom_push(key="uri", value=[asset.uri for asset in found])


def _keep_events(run: DbtRun, command: DbtCommand) -> None:
    """Keep the events of OpenLineage's processor, also of a failed run, where Airflow's provider is active."""
    try:
        namespace = compat.openlineage_namespace()
        if namespace is not None:
            # Until Airflow's provider asks the operator for their facets.
            vars(run.task).update(openlineage_events_completes=_events(run, command, namespace))
    except Exception as error:  # noqa: BLE001 - whatever it is: the task is about dbt
        run.task.log.warning("OpenLineage is told nothing of dbt's nodes: %s: %s", type(error).__name__, error)


def _events(run: DbtRun, command: DbtCommand, namespace: str) -> list[Any]:
    """The events of the nodes that this run has updated. To OpenLineage each try of a task is a run of its own."""
    artifacts = command.artifacts
    if artifacts.text("run_results.json") is None or artifacts.text("manifest.json") is None:
        return []
    task = run.task
    processor = _processor_class(command.env, command.profiles_yml)(
        project_dir=str(command.place),
        profile_name=task.profile_config.profile_name,
        target=task.profile_config.target_name,
        target_path=str(artifacts.target),
        producer=PRODUCER,
        job_namespace=namespace,
        skip_errors=True,
        logger=task.log,
    )
    return list(processor.parse().completes)


def _processor_class(environment: Mapping[str, str], profiles_yml: Path) -> Callable[..., Any]:
    """OpenLineage's processor class, with dbt's variables and profile.

    Unchanged, it would read variables, passwords too, from the worker's environment. It takes the folder of the profile
    from ``run_results.json``. dbt 2 does not write the folder there, and the profile in the user's home would count.
    """
    from openlineage.common.provider.dbt.local import DbtLocalArtifactProcessor

    def env_var(name: str, default: str | None = None) -> str:
        value = environment.get(name, default)
        if value is None:
            raise CosmosValueError(f"the environment variable {name} is not set")
        return value

    class Processor(DbtLocalArtifactProcessor):  # type: ignore[misc]
        should_raise_on_unsupported_command = False  # docs, compile, …: nothing to tell

        @classmethod
        def load_metadata(cls, *words: Any, **named: Any) -> dict[str, Any]:
            metadata: dict[str, Any] = super().load_metadata(*words, **named)
            if isinstance(arguments := metadata.get("args"), dict):
                arguments.setdefault("profiles_dir", str(profiles_yml.parent))
            return metadata

        @staticmethod
        # Its own env_var reads os.environ, which is the worker's.
        def setup_jinja() -> Any:
            jinja = DbtLocalArtifactProcessor.setup_jinja()
            jinja.globals["env_var"] = env_var
            return jinja

    return Processor


def openlineage_facets(events: Sequence[Any]) -> Any:
    """The inputs, outputs and facets of all events, each once, as Airflow's OpenLineage provider takes them.

    :param events: by OpenLineage's processor, one for each node that succeeded.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage

    return OperatorLineage(
        inputs=_each_once(event.inputs for event in events),
        outputs=_each_once(event.outputs for event in events),
        run_facets={name: facet for event in events for name, facet in event.run.facets.items()},
        job_facets={name: facet for event in events for name, facet in event.job.facets.items()},
    )


def _each_once(groups: Iterable[Iterable[Any]]) -> list[Any]:
    found: list[Any] = []
    # Datasets of OpenLineage have no hash, so no set can tell them apart.
    for each in (one for group in groups for one in group):
        if each not in found:
            found.append(each)
    return found
