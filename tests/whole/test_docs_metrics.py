"""The dashboard and the alert rules for cosmos-venv's metrics, and what each backend of Airflow makes of these."""

from __future__ import annotations

import json
import re
from importlib import import_module
from typing import Any

import pytest
import yaml

from cosmos_venv.compat import count
from tests.installed import ROOT

FOLDER = ROOT / "docs" / "how-to" / "operating"
DASHBOARD = (FOLDER / "grafana.json").read_text(encoding="utf-8")
RULES = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
METRICS = sorted(f"cosmos_venv.{name}" for name in ("dbt.cold", "dbt.warm", "seeds.run", "seeds.skipped"))
TAGS = {"dag_id": "shop", "task_id": "orders.run", "reason": "first"}


@pytest.mark.parametrize(
    "queries",
    [
        pytest.param(
            [target["expr"] for panel in json.loads(DASHBOARD)["panels"] for target in panel["targets"]], id="dashboard"
        ),
        pytest.param(
            [rule["expr"] for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"]], id="rules"
        ),
    ],
)
def test_queries_name_metrics_that_there_are(queries: list[str]) -> None:
    """Prometheus has the names of StatsD, with or without ``_total``."""
    named = {name for query in queries for name in re.findall(r"airflow_(cosmos_venv_[a-z_]+?)\(_total\)\?", query)}

    assert named
    assert named <= {name.replace(".", "_") for name in METRICS}


class Statsd:
    """A client of StatsD that keeps the names it was given."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def incr(self, name: str, *_: object) -> None:
        self.names.append(name)


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Airflow's module of metrics, of 3.2 and later; what a test initializes is forgotten after it."""
    module = import_module("airflow.sdk._shared.observability.metrics.stats")
    for name in ("_factory", "_backend", "_export_legacy_names"):
        monkeypatch.setattr(module, name, getattr(module, name))
    return module


def test_statsd_gets_the_tags_beside_the_name(backends: Any) -> None:
    from airflow.sdk._shared.observability.metrics.statsd_logger import SafeStatsdLogger

    client = Statsd()
    logger = SafeStatsdLogger(client, influxdb_tags_enabled=True, statsd_influxdb_enabled=True)
    backends.initialize(factory=lambda: logger, export_legacy_names=False)

    for name in METRICS:
        count(name, TAGS)

    assert client.names == [f"{name},dag_id=shop,task_id=orders.run,reason=first" for name in METRICS]


def test_opentelemetry_gets_a_sum_that_only_grows(backends: Any) -> None:
    """Of such a sum Prometheus's name ends in ``_total``."""
    from airflow.sdk._shared.observability.metrics.otel_logger import SafeOtelLogger
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    logger = SafeOtelLogger(MeterProvider(metric_readers=[reader]), "airflow")
    backends.initialize(factory=lambda: logger, export_legacy_names=False)

    for name in METRICS:
        count(name, TAGS)

    data: Any = reader.get_metrics_data()
    found = [
        metric for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    ]
    assert {metric.name for metric in found} == {f"airflow.{name}" for name in METRICS}
    assert all(metric.data.is_monotonic for metric in found)
    assert [dict(point.attributes) for metric in found for point in metric.data.data_points] == [TAGS] * len(METRICS)
