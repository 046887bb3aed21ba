"""All that follows a run of dbt: rendered fields, uploaded SQL, an XCom, the user's callbacks, assets, OpenLineage.

All of it happens while the folder in which dbt ran is still there, after a failed dbt too. Assets and OpenLineage are
best effort: dbt has done its work by then, so what goes wrong there is one warning. A task that fails gives no assets.
OpenLineage is imported only where Airflow's provider for it is active: its own processor reads dbt's artifacts while
they are there, and Airflow asks for the facets when the task ends.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv import assets, compat, settings
from cosmos_venv.constants import NODES_XCOM
from cosmos_venv.dbt.project_files import profile_fields
from cosmos_venv.dbt.results import Artifacts, warnings_in
from cosmos_venv.exceptions import AirflowCompatibilityError, CosmosValueError
from cosmos_venv.operators.parameters import callables

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.config import ProfileConfig

_UPDATING = (("build",), ("retry",), ("run",), ("seed",), ("snapshot",))
"""The commands that give assets. A test updates nothing."""
_LOOKING = ("source", "freshness")
"""The command that gives the assets of sources, where that is asked for."""

PRODUCER = "urn:cosmos-venv"


@dataclass(frozen=True, kw_only=True)
class PostRunOptions:
    """The parameters of an operator, by their names there, that say what follows a run.

    :param emit_datasets: whether Airflow is told which assets the nodes that ran have updated.
    :param emit_source_assets: whether it is told which sources have new data.
    :param callback: called with the folder in which dbt ran: a callable, an import path, or a list of these; None:
        nothing is.
    :param callback_args: keyword arguments for it, by name.
    :param should_store_compiled_sql: whether the rendered fields of the task show compiled SQL and freshness.
    :param should_upload_compiled_sql: whether compiled SQL is copied to ``[cosmos] remote_target_path``; None: that
        of ``dbt compile`` is, where the option is set.
    :param push_run_results_to_xcom: whether ``run_results.json`` becomes an XCom.
    :param push_node_rows: whether what became of each node does, in short.
    :param on_warning_callback: called with the nodes that have warned, as ``callback`` is given; None: nothing is.
    :param calls_back_without_warnings: whether it is called where no node has warned.
    """

    emit_datasets: bool
    emit_source_assets: bool
    callback: Callable[..., object] | str | Sequence[Callable[..., object] | str] | None
    callback_args: Mapping[str, Any]
    should_store_compiled_sql: bool
    should_upload_compiled_sql: bool | None
    push_run_results_to_xcom: bool
    push_node_rows: bool
    on_warning_callback: Callable[..., object] | str | Sequence[Callable[..., object] | str] | None
    calls_back_without_warnings: bool


@dataclass(frozen=True, kw_only=True)
class TaskUpdates:
    """The ways in which a run changes its task, as Airflow knows it.

    :param show_fields: gives rendered fields other values, and has Airflow show them.
    :param alias_name: gives the name of the alias by which the task gives assets.
    :param add_outlets: adds assets or aliases to the task's outlets.
    :param keep_events: keeps OpenLineage's events until Airflow's provider asks for their facets.
    """

    show_fields: Callable[[Mapping[str, str]], object]
    alias_name: Callable[[], str]
    add_outlets: Callable[[Iterable[Any]], object]
    keep_events: Callable[[Sequence[Any]], object]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one dbt command, and what its task wants done with it.

    :param base_cmd: dbt's sub-command, such as ``("source", "freshness")``.
    :param options: what the operator's parameters ask for.
    :param context: Airflow's context of the task.
    :param log: the task's logger.
    :param updates: how the task is changed.
    :param profile_config: names the profile and the target.
    :param place: the folder in which dbt ran.
    :param artifacts: what dbt has left.
    :param profiles_yml: the file of the profile with which it ran.
    :param env: its environment variables, the profile's secrets among them.
    :param updated_before: unique ids of the nodes that earlier tries of the task have updated: a try that fails gives
        no assets.
    :param starts: how the commands of the run were started, the last one last, as ``DbtRun`` has it.
    """

    base_cmd: tuple[str, ...]
    options: PostRunOptions
    context: Context | Mapping[str, Any]
    log: Any  # Airflow has another type for it in each version
    updates: TaskUpdates
    profile_config: ProfileConfig
    place: Path
    artifacts: Artifacts
    profiles_yml: Path
    env: Mapping[str, str] = field(repr=False)
    updated_before: Collection[str] = ()
    starts: Sequence[str] = ()


def require_place_for(options: PostRunOptions, base_cmd: Sequence[str]) -> None:
    """Refuse, before dbt runs, what could not be done after it.

    :param options: what the operator's parameters ask for.
    :param base_cmd: dbt's sub-command, in words.
    :raises CosmosValueError: when its SQL is to be uploaded and nothing says where to.
    :raises AirflowCompatibilityError: when this Airflow cannot take assets as the settings want it.
    """
    if options.should_upload_compiled_sql and not settings.remote_target_path:
        raise CosmosValueError(
            "should_upload_compiled_sql=True, and [cosmos] remote_target_path is not set: it says where compiled SQL "
            "goes, such as s3://bucket/dbt. Set it, or leave the parameter out."
        )
    if settings.enable_dataset_alias or not gives_assets(base_cmd, options):
        return
    if tuple(base_cmd) == _LOOKING:
        raise AirflowCompatibilityError(
            "[cosmos] enable_dataset_alias = False, and emit_source_assets=True: the asset of a source is given by an "
            "alias only. Drop one of the two."
        )
    if compat.ASSETS_NEED_AN_ALIAS:
        raise AirflowCompatibilityError(
            "[cosmos] enable_dataset_alias = False, and Airflow 3 takes assets of a running task by an alias only. "
            "Drop the setting, or say RenderConfig(emit_datasets=False), emit_datasets=False of an operator."
        )


def follow_up(outcome: Outcome, *, failed: bool) -> None:
    """Do everything that the operator's parameters ask for.

    :param outcome: what came of dbt.
    :param failed: whether dbt has failed: what goes wrong here is a warning then, and never hides dbt's own error.
    """
    # First: a callback of the user may remove or change the artifacts.
    _keep_events(outcome, failed=failed)
    if not failed:
        _give_assets(outcome)
    for step in _steps(outcome):
        try:
            step()
        except Exception as error:
            if not failed:
                raise
            outcome.log.warning("After dbt had failed: %s: %s", type(error).__name__, error)


def call_back_about_warnings(outcome: Outcome, lines: Sequence[str]) -> None:
    """Call the operator's ``on_warning_callback`` with the nodes that have warned.

    :param outcome: what came of dbt.
    :param lines: dbt's output, for where it wrote no artifacts.
    """
    given = outcome.options.on_warning_callback
    if given is None:
        return
    nodes = outcome.artifacts.warnings()
    nodes = warnings_in(lines) if nodes is None else nodes
    if not nodes and not outcome.options.calls_back_without_warnings:
        return
    context = dict(outcome.context) | {
        "test_names": [node.name for node in nodes],
        "test_results": [node.message for node in nodes],
    }
    for callback in callables("on_warning_callback", given):
        callback(context)


def _steps(outcome: Outcome) -> Iterator[Callable[[], None]]:
    options = outcome.options
    if options.should_store_compiled_sql:
        yield partial(_show_fields, outcome)
    if _uploads(outcome):
        yield partial(_upload, outcome)
    if options.push_run_results_to_xcom:
        yield partial(_push_run_results, outcome)
    if options.push_node_rows:
        yield partial(_push_node_rows, outcome)
    # Last of the steps: what the user does there may take long, or fail.
    given: Any = options.callback
    for callback in given if isinstance(given, list | tuple) else [given]:
        yield partial(_call, outcome, callback)


def _show_fields(outcome: Outcome) -> None:
    try:
        artifacts = outcome.artifacts
        found = {"compiled_sql": artifacts.compiled_sql(), "freshness": artifacts.freshness()}
        if any(found.values()):
            outcome.updates.show_fields(found)
    except Exception:
        # Shown by default, without being asked for, and dbt has done its work.
        outcome.log.warning("Compiled SQL cannot be shown among the rendered fields.", exc_info=True)


def _uploads(outcome: Outcome) -> bool:
    wanted = outcome.options.should_upload_compiled_sql
    if wanted is not None:
        return wanted
    # dbt compile is run for its SQL; without a place to go to it stays in the rendered fields.
    return outcome.base_cmd == ("compile",) and bool(settings.remote_target_path)


def _upload(outcome: Outcome) -> None:
    from cosmos_venv.io import upload_compiled_sql  # few tasks upload

    upload_compiled_sql(outcome.artifacts, outcome.context, report=outcome.log.info)


def _push_run_results(outcome: Outcome) -> None:
    text = outcome.artifacts.text("run_results.json")
    if text is None:  # dbt ls and source freshness never do, nor does any command with write_json=False
        command = " ".join(outcome.base_cmd)
        outcome.log.info("dbt %s has written no run_results.json: nothing is pushed as XCom.", command)
        return
    # An XCom is JSON, and a database has little room for it: run_results.json of 1,000 models is megabytes.
    value = base64.b64encode(zlib.compress(text.encode())).decode()
    outcome.context["ti"].xcom_push(key="run_results", value=value)


def _push_node_rows(outcome: Outcome) -> None:
    started = how_started(outcome.starts)
    rows = [
        {"node": node, "status": each.status, "seconds": each.seconds, "rows": each.rows, "started": started}
        for node, each in outcome.artifacts.outcomes().items()
    ]
    if rows:
        outcome.context["ti"].xcom_push(key=NODES_XCOM, value=rows)


def how_started(starts: Sequence[str]) -> str:
    """How the last command of a run was started, in a word or two; empty where none was.

    :param starts: of ``DbtRun``.
    """
    last = starts[-1] if starts else ""
    return last if last in ("", "warm", "runner", "process") else f"process ({last})"


def _call(outcome: Outcome, given: Callable[..., object] | str | None) -> None:
    for callback in callables("callback", given):
        outcome.log.info("Calling %s", getattr(callback, "__qualname__", callback))
        callback(str(outcome.place), **{**outcome.options.callback_args, "context": outcome.context})


def gives_assets(base_cmd: Sequence[str], options: Any) -> bool:
    """Whether a task gives the assets of the dbt nodes that it runs, or of the sources that it looks at.

    :param base_cmd: dbt's sub-command, in words.
    :param options: has what the operator's parameters say; the operator itself will do.
    """
    if tuple(base_cmd) == _LOOKING:
        return bool(options.emit_datasets and options.emit_source_assets)
    return bool(options.emit_datasets) and tuple(base_cmd) in _UPDATING


def alias_name(task_id: str, *, group_id: str | None, dag_id: str | None) -> str:
    """The name of a task's alias, as in Cosmos: its DAG, its innermost group, itself. Outer groups are left out.

    :param task_id: with the ids of the groups around the task, as Airflow has it.
    :param group_id: of the innermost group, with the ids of those around it; None or empty: there is none.
    :param dag_id: None: the task stands in no DAG.
    """
    parts = (dag_id, (group_id or "").rpartition(".")[2], task_id.rpartition(".")[2])
    return "__".join(part for part in parts if part)


def _give_assets(outcome: Outcome) -> None:
    """After dbt has succeeded: give Airflow the assets of every node that did, and of every source with new data."""
    if not gives_assets(outcome.base_cmd, outcome.options):
        return
    try:
        if outcome.base_cmd == _LOOKING:
            _give_sources(outcome)
        else:
            _give_nodes(outcome)
    except Exception as error:  # noqa: BLE001 - whatever it is: dbt has done its work
        outcome.log.warning("The assets of this task are not given to Airflow: %s: %s", type(error).__name__, error)


def _give_nodes(outcome: Outcome) -> None:
    found = _lineage(outcome)
    where = _namespace(outcome) if found.outlets else None
    if where is None:
        return
    inlets, outlets = asset_uris(where, found.inlets), asset_uris(where, found.outlets)
    outcome.log.info("Inlets: %s", inlets)
    outcome.log.info("Outlets: %s", outlets)
    give(outcome.context, outcome.updates, {uri: {} for uri in outlets})


def _give_sources(outcome: Outcome) -> None:
    """Give the assets of the sources that were loaded since the last event of theirs, which Airflow itself keeps."""
    from cosmos_venv.operators.run.source_freshness import has_new_data, loaded_at, of_event

    sources = [source for source in outcome.artifacts.sources() if loaded_at(source)]
    manifest = outcome.artifacts.text("manifest.json")
    if manifest is None:
        outcome.log.warning(
            "The assets of the sources are not known: dbt has written no manifest.json. Drop --no-write-json."
        )
        return
    where = _namespace(outcome) if sources else None
    if where is None:
        return
    found = {}
    names = assets.tables([source.unique_id for source in sources], manifest)
    for source, uri in zip(sources, asset_uris(where, names), strict=True):
        if has_new_data(source, compat.newest_event_extras(compat.asset(uri))):
            found[uri] = of_event(source)
        else:
            outcome.log.info("%s has no new data since the last event of %s.", source.unique_id, uri)
    outcome.log.info("Outlets: %s", list(found))
    if found:
        give(outcome.context, outcome.updates, found)


def asset_uris(where: str, names: Iterable[str]) -> list[str]:
    """The URIs of tables, in the form that this Airflow wants.

    :param where: OpenLineage's namespace.
    :param names: database, schema and name of each, with dots between them.
    """
    # Airflow 2 knows the datasets of DAG files by the older form, unless a setting says otherwise.
    has_slashes = compat.ASSET_URIS_HAVE_SLASHES or settings.enable_dataset_airflow3_uri
    return [assets.asset_uri(where, name, has_slashes=has_slashes) for name in names]


def _lineage(outcome: Outcome) -> assets.Lineage:
    run_results, manifest = (outcome.artifacts.text(name) for name in ("run_results.json", "manifest.json"))
    if run_results is None or manifest is None:
        outcome.log.warning(
            "The assets of this task are not known: dbt has written no %s. Drop --no-write-json, or say "
            "emit_datasets=False.",
            "run_results.json" if run_results is None else "manifest.json",
        )
        return assets.Lineage()
    return assets.lineage(run_results, manifest, outcome.updated_before)


def _namespace(outcome: Outcome) -> str | None:
    config = outcome.profile_config
    field = profile_fields(
        outcome.profiles_yml, profile=config.profile_name, target=config.target_name, environment=outcome.env
    )
    where = assets.namespace(field)
    if where is None:
        outcome.log.info(
            "No assets are given: OpenLineage has no name for where dbt's adapter %r writes.", field("type")
        )
    return where


def give(context: Context | Mapping[str, Any], updates: TaskUpdates, extras: Mapping[str, Mapping[str, Any]]) -> None:
    """Give assets to Airflow.

    :param context: Airflow's context of the task.
    :param updates: how the task is changed.
    :param extras: URI of each asset to what its event carries.
    """
    # Anything that may go wrong comes first, so that what the warning says is true: nothing was given.
    found = {uri: compat.asset(uri) for uri in extras}
    if not settings.enable_dataset_alias:
        _push_uris(context, found.values())
        updates.add_outlets(found.values())
        return
    alias = compat.asset_alias(updates.alias_name())
    events = compat.asset_events(context, alias)
    if events is None:  # the operator was called by hand
        return
    _push_uris(context, found.values())
    updates.add_outlets([alias])
    for uri, asset in found.items():
        events.add(asset, extra=dict(extras[uri]))


def _push_uris(context: Context | Mapping[str, Any], found: Iterable[Any]) -> None:
    if settings.enable_uri_xcom and "ti" in context:
        context["ti"].xcom_push(key="uri", value=[asset.uri for asset in found])


def _keep_events(outcome: Outcome, *, failed: bool) -> None:
    """Keep what OpenLineage's processor says of this run, a failed one too, where Airflow's provider is active."""
    try:
        namespace = compat.openlineage_namespace()
        if namespace is not None:
            outcome.updates.keep_events(_events(outcome, namespace, failed=failed))
    except Exception as error:  # noqa: BLE001 - whatever it is: the task is about dbt
        outcome.log.warning("OpenLineage is told nothing of dbt's nodes: %s: %s", type(error).__name__, error)


def _events(outcome: Outcome, namespace: str, *, failed: bool) -> list[Any]:
    """The events of the nodes that this run has updated; of a run that has succeeded, also of those before it.

    So the last event of a task names all that the task has written, as its assets do, whatever its tries have done.
    """
    if outcome.artifacts.text("run_results.json") is None or outcome.artifacts.text("manifest.json") is None:
        return []
    before = () if failed else outcome.updated_before
    processor = _processor_class(outcome.env, outcome.profiles_yml, before)(
        project_dir=str(outcome.place),
        profile_name=outcome.profile_config.profile_name,
        target=outcome.profile_config.target_name,
        target_path=str(outcome.artifacts.target),
        producer=PRODUCER,
        job_namespace=namespace,
        skip_errors=True,
        logger=outcome.log,
    )
    return list(processor.parse().completes)


def _processor_class(
    environment: Mapping[str, str], profiles_yml: Path, updated_before: Collection[str]
) -> Callable[..., Any]:
    """OpenLineage's processor, seeing dbt's variables and profile, and nodes that earlier tries have updated.

    It would look for variables, passwords too, among the worker's own. The folder of the profile it takes from
    ``run_results.json``; dbt 2 does not say it there, and another profile lies in the user's home.
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

        def get_dbt_metadata(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any] | None]:
            manifest, run_results, profile, catalog = super().get_dbt_metadata()
            now = {result["unique_id"] for result in run_results["results"]}
            before = [
                {"unique_id": each, "status": "success", "timing": []}
                for each in updated_before
                if each in manifest["nodes"] and each not in now
            ]
            # Of facets the last event counts: it is one of this try.
            return manifest, {**run_results, "results": [*before, *run_results["results"]]}, profile, catalog

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
