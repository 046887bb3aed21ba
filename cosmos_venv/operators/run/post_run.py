"""After dbt: rendered fields, uploads, XCom, callbacks, assets, OpenLineage.

Which alias has a dbt task, by which Airflow learns the assets that it updates?

How does Airflow learn which assets a dbt task has updated? By an alias of the task, to which they are added.

Best effort: the data is there already, so what goes wrong here is one warning. A task that fails gives nothing.

What does a dbt task tell OpenLineage, where Airflow's provider for it is active? Nowhere else is it imported.

OpenLineage's own processor reads dbt's artifacts while they are there; Airflow asks for the facets when the task ends.

What does a task keep and tell of its dbt? Rendered fields, uploaded SQL, an XCom, the user's callbacks.

All of it happens while the folder in which dbt ran is still there, after a failed dbt too.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv import assets, compat, settings
from cosmos_venv.compat import show_rendered_fields
from cosmos_venv.dbt.project_files import profile_fields
from cosmos_venv.dbt.results import Artifacts, warnings_in
from cosmos_venv.exceptions import AirflowCompatibilityError, CosmosValueError
from cosmos_venv.operators.base import callables

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.operators.run.dbt_run import LocalRun


_UPDATING = (("build",), ("run",), ("seed",), ("snapshot",))
"""The commands that give assets. A test, or a look at the age of a source, updates nothing."""


def gives_assets(operator: LocalRun) -> bool:
    """Whether this task gives the assets of the dbt nodes that it runs."""
    return bool(operator.emit_datasets) and tuple(operator.base_cmd) in _UPDATING


def alias_name(operator: LocalRun) -> str:
    """The name of the task's alias, as in Cosmos: its DAG, its innermost group, itself. Outer groups are left out."""
    dag, group = operator.get_dag(), operator.task_group
    parts = (
        dag.dag_id if dag else None,
        group.group_id.rpartition(".")[2] if group and group.group_id else None,
        operator.task_id.rpartition(".")[2],
    )
    return "__".join(part for part in parts if part)


def declare_alias(operator: LocalRun) -> None:
    """While the DAG is parsed: let the alias stand among the task's outlets, where Airflow wants to know it then."""
    if not compat.ASSETS_NEED_AN_ALIAS and gives_assets(operator) and settings.enable_dataset_alias:
        compat.add_outlets(operator, [compat.asset_alias(alias_name(operator))])


def require_alias(operator: LocalRun) -> None:
    """Before dbt runs: :raises AirflowCompatibilityError: when aliases are turned off where there is no other way."""
    if compat.ASSETS_NEED_AN_ALIAS and gives_assets(operator) and not settings.enable_dataset_alias:
        raise AirflowCompatibilityError(
            "[cosmos] enable_dataset_alias = False, and Airflow 3 takes assets of a running task by an alias only. "
            "Drop the setting, or say RenderConfig(emit_datasets=False), emit_datasets=False of an operator."
        )


def tell_of_assets(outcome: Outcome) -> None:
    """After dbt has succeeded: give Airflow the assets of every node that did."""
    operator = outcome.operator
    if not gives_assets(operator):
        return
    try:
        found = _lineage(outcome)
        where = _namespace(outcome) if found.outlets else None
        if where is None:
            return
        has_slashes = compat.ASSET_URIS_HAVE_SLASHES or settings.enable_dataset_airflow3_uri
        inlets, outlets = (
            [assets.asset_uri(where, name, has_slashes=has_slashes) for name in names]
            for names in (found.inlets, found.outlets)
        )
        operator.log.info("Inlets: %s", inlets)
        operator.log.info("Outlets: %s", outlets)
        _give(outcome, [compat.asset(uri) for uri in outlets])
    except Exception as error:  # noqa: BLE001 - whatever it is: dbt has done its work
        operator.log.warning("The assets of this task are not given to Airflow: %s: %s", type(error).__name__, error)


def _lineage(outcome: Outcome) -> assets.Lineage:
    run_results, manifest = (outcome.artifacts.text(name) for name in ("run_results.json", "manifest.json"))
    if run_results is None or manifest is None:
        outcome.operator.log.warning(
            "The assets of this task are not known: dbt has written no %s. Drop --no-write-json, or say "
            "emit_datasets=False.",
            "run_results.json" if run_results is None else "manifest.json",
        )
        return assets.Lineage()
    return assets.lineage(run_results, manifest)


def _namespace(outcome: Outcome) -> str | None:
    config = outcome.operator.profile_config
    field = profile_fields(
        outcome.profiles_yml, profile=config.profile_name, target=config.target_name, environment=outcome.env
    )
    where = assets.namespace(field)
    if where is None:
        outcome.operator.log.info(
            "No assets are given: OpenLineage has no name for where dbt's adapter %r writes.", field("type")
        )
    return where


def _give(outcome: Outcome, found: list[Any]) -> None:
    """Anything that may go wrong comes first, so that what is said of it is true: nothing was given."""
    if not settings.enable_dataset_alias:
        _push_uris(outcome, found)
        compat.add_outlets(outcome.operator, found)
        return
    alias = compat.asset_alias(alias_name(outcome.operator))
    events = compat.asset_events(outcome.context, alias)
    if events is None:  # the operator was called by hand
        return
    _push_uris(outcome, found)
    compat.add_outlets(outcome.operator, [alias])
    for asset in found:
        events.add(asset)


def _push_uris(outcome: Outcome, found: list[Any]) -> None:
    if settings.enable_uri_xcom and "ti" in outcome.context:
        outcome.context["ti"].xcom_push(key="uri", value=[asset.uri for asset in found])


PRODUCER = "urn:cosmos-venv"


class OpenLineageMethods:
    """The part of a local operator that Airflow's OpenLineage provider talks to."""

    #: one event for each node that succeeded, by OpenLineage's processor; written by the task.
    openlineage_events_completes: Sequence[Any] = ()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """The inputs, outputs and facets of all events, each once. Called by Airflow's provider alone."""
        from airflow.providers.openlineage.extractors import OperatorLineage

        events = self.openlineage_events_completes
        return OperatorLineage(
            inputs=_each_once(event.inputs for event in events),
            outputs=_each_once(event.outputs for event in events),
            run_facets={name: facet for event in events for name, facet in event.run.facets.items()},
            job_facets={name: facet for event in events for name, facet in event.job.facets.items()},
        )


def note_events(outcome: Outcome) -> None:
    """Keep what OpenLineage's processor says of this run, a failed one too, where Airflow's provider is active."""
    try:
        namespace = compat.openlineage_namespace()
        if namespace is not None:
            vars(outcome.operator)["openlineage_events_completes"] = _events(outcome, namespace)
    except Exception as error:  # noqa: BLE001 - whatever it is: the task is about dbt
        outcome.operator.log.warning("OpenLineage is told nothing of dbt's nodes: %s: %s", type(error).__name__, error)


def _events(outcome: Outcome, namespace: str) -> list[Any]:
    if outcome.artifacts.text("run_results.json") is None or outcome.artifacts.text("manifest.json") is None:
        return []
    profile = outcome.operator.profile_config
    processor = _processor_class(outcome.env)(
        project_dir=str(outcome.place),
        profile_name=profile.profile_name,
        target=profile.target_name,
        target_path=str(outcome.artifacts.target),
        producer=PRODUCER,
        job_namespace=namespace,
        skip_errors=True,
        logger=outcome.operator.log,
    )
    return list(processor.parse().completes)


def _processor_class(environment: Mapping[str, str]) -> Callable[..., Any]:
    """OpenLineage's processor, seeing dbt's variables: it would look for them, passwords too, in the worker's own."""
    from openlineage.common.provider.dbt.local import DbtLocalArtifactProcessor

    def env_var(name: str, default: str | None = None) -> str:
        value = environment.get(name, default)
        if value is None:
            raise CosmosValueError(f"the environment variable {name} is not set")
        return value

    class Processor(DbtLocalArtifactProcessor):  # type: ignore[misc]
        should_raise_on_unsupported_command = False  # docs, compile, …: nothing to tell

        @staticmethod
        def setup_jinja() -> Any:
            jinja = DbtLocalArtifactProcessor.setup_jinja()
            jinja.globals["env_var"] = env_var
            return jinja

    return Processor


def _each_once(groups: Any) -> list[Any]:
    found: list[Any] = []
    for each in (one for group in groups for one in group):
        if each not in found:
            found.append(each)
    return found


def require_place_for(operator: LocalRun) -> None:
    """Before dbt runs: see that what comes of it can be kept and told.

    :raises CosmosValueError: when its SQL is to be uploaded and nothing says where to.
    :raises AirflowCompatibilityError: when this Airflow cannot take assets as the settings want it.
    """
    if operator.should_upload_compiled_sql and not settings.remote_target_path:
        raise CosmosValueError(
            "should_upload_compiled_sql=True, and [cosmos] remote_target_path is not set: it says where compiled SQL "
            "goes, such as s3://bucket/dbt. Set it, or leave the parameter out."
        )
    require_alias(operator)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one dbt command, in the hands of the operator that ran it.

    :param place: the folder in which dbt ran.
    :param profiles_yml: the profile with which it ran.
    :param env: its environment variables, the profile's secrets among them.
    :param pushes_run_results: also where the operator's own parameter does not say so.
    """

    operator: LocalRun
    context: Context | Mapping[str, Any]
    place: Path
    artifacts: Artifacts
    profiles_yml: Path
    env: Mapping[str, str] = field(repr=False)
    pushes_run_results: bool = False

    def tell(self, *, failed: bool) -> None:
        """Do everything that the operator's parameters ask for.

        :param failed: dbt has failed: what goes wrong here is a warning then, and never hides dbt's own error.
        """
        note_events(self)
        if not failed:
            tell_of_assets(self)
        for step in self._steps():
            try:
                step()
            except Exception as error:
                if not failed:
                    raise
                self.operator.log.warning("After dbt had failed: %s: %s", type(error).__name__, error)

    def tell_of_warnings(self, lines: Sequence[str]) -> None:
        """Call the operator's ``on_warning_callback`` with the nodes that have warned.

        :param lines: dbt's output, for where it wrote no artifacts.
        """
        given = getattr(self.operator, "on_warning_callback", None)
        if given is None:
            return
        nodes = self.artifacts.warnings()
        nodes = warnings_in(lines) if nodes is None else nodes
        if not nodes and not self.operator.calls_back_without_warnings:
            return
        told = dict(self.context) | {
            "test_names": [node.name for node in nodes],
            "test_results": [node.message for node in nodes],
        }
        for callback in callables("on_warning_callback", given):
            callback(told)

    def _steps(self) -> Iterator[Callable[[], None]]:
        if self.operator.should_store_compiled_sql:
            yield self._show
        if self._uploads():
            yield self._upload
        if self.pushes_run_results or self.operator.push_run_results_to_xcom:
            yield self._push_run_results
        given: Any = self.operator.callback
        for callback in given if isinstance(given, list | tuple) else [given]:
            yield partial(self._call, callback)

    def _show(self) -> None:
        try:
            found = {"compiled_sql": self.artifacts.compiled_sql(), "freshness": self.artifacts.freshness()}
            if any(found.values()):
                vars(self.operator).update(found)
                show_rendered_fields(self.operator, self.context)
        except Exception:
            # Nobody has asked for it, and dbt has done its work.
            self.operator.log.warning("Compiled SQL cannot be shown among the rendered fields.", exc_info=True)

    def _uploads(self) -> bool:
        wanted = self.operator.should_upload_compiled_sql
        if wanted is not None:
            return wanted
        # dbt compile is run for its SQL; without a place to go to it stays in the rendered fields.
        return self.operator.base_cmd == ("compile",) and bool(settings.remote_target_path)

    def _upload(self) -> None:
        from cosmos_venv.io import upload_compiled_sql

        upload_compiled_sql(self.artifacts, self.context, report=self.operator.log.info)

    def _push_run_results(self) -> None:
        text = self.artifacts.text("run_results.json")
        if text is None:  # dbt ls and source freshness never do, nor does any command with write_json=False
            command = " ".join(self.operator.base_cmd)
            self.operator.log.info("dbt %s has written no run_results.json: nothing is pushed as XCom.", command)
            return
        self.context["ti"].xcom_push(key="run_results", value=base64.b64encode(zlib.compress(text.encode())).decode())

    def _call(self, given: Callable[..., object] | str | None) -> None:
        for callback in callables("callback", given):
            self.operator.log.info("Calling %s", getattr(callback, "__qualname__", callback))
            callback(str(self.place), **{**self.operator.callback_args, "context": self.context})
