"""How does Airflow learn which assets a dbt task has updated? By an alias of the task, to which they are added.

Best effort: the data is there already, so what goes wrong here is one warning. A task that fails gives nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmos_venv import assets, compat, settings
from cosmos_venv.dbt.profile_fields import profile_fields
from cosmos_venv.operators.asset_alias import alias_name, gives_assets

if TYPE_CHECKING:
    from cosmos_venv.operators.outcome import Outcome


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
