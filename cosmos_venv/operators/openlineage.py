"""What does a dbt task tell OpenLineage, where Airflow's provider for it is active? Nowhere else is it imported.

OpenLineage's own processor reads dbt's artifacts while they are there; Airflow asks for the facets when the task ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cosmos_venv import compat
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from cosmos_venv.operators.outcome import Outcome

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
