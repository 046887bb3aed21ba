"""The page docs/how-to/operating/metrics-and-alerts.md, its dashboard and its rules name the metrics that there are."""

from __future__ import annotations

import ast
import json
import re
from importlib import import_module
from typing import Any

import pytest
import yaml

from cosmos_venv.compat import count
from tests.installed import ROOT

FOLDER = ROOT / "docs" / "how-to" / "operating"
PAGE = (FOLDER / "metrics-and-alerts.md").read_text(encoding="utf-8")
DASHBOARD = (FOLDER / "grafana.json").read_text(encoding="utf-8")
RULES = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
WARM = (ROOT / "docs" / "explanation" / "warm.md").read_text(encoding="utf-8")
OF_AIRFLOW = {"dag_processing.import_errors"}
TAGS = {"dag_id": "shop", "task_id": "orders.run", "reason": "first"}


def metrics_of_the_code() -> set[str]:
    """Each counter that a call in the code names: as a text, or as the last word of one."""
    found = set()
    for path in (ROOT / "cosmos_venv").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        # To import this file must stay cheap: each worker of pytest-xdist does it, whatever it runs.
        if "count(" not in source or '"cosmos_venv.' not in source:
            continue
        tree = ast.parse(source)
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
        prefixes = [
            str(part.value)
            for call in calls
            if isinstance(call.args[0], ast.JoinedStr)
            for part in call.args[0].values
            if isinstance(part, ast.Constant) and str(part.value).startswith("cosmos_venv.")
        ]
        for call in calls:
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if name == "count" and isinstance(call.args[0], ast.Constant):
                text = str(call.args[0].value)
                found |= {text} if text.startswith("cosmos_venv.") else {f"{prefix}{text}" for prefix in prefixes}
    return found


def named_in(text: str) -> set[str]:
    """Each counter of ours that a query names, as Prometheus sees it by StatsD."""
    return set(re.findall(r"airflow_(cosmos_venv_[a-z_]+?)\(_total\)\?", text))


CODE = metrics_of_the_code()
IN_PROMETHEUS = {name.replace(".", "_") for name in CODE}


def test_the_reference_lists_each_metric_of_the_code() -> None:
    table = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")

    assert set(re.findall(r"^\| `(cosmos_venv\.\S+)` \|", table, re.MULTILINE)) == CODE
    assert len(CODE) == 4


def test_the_page_names_each_metric_as_each_backend_does() -> None:
    rows = re.findall(r"^ *\| `(cosmos_venv\S+)` \| `(\S+)` \| `(\S+)` \| `(\S+)`", PAGE, re.MULTILINE)

    expected = {(name, f"airflow.{name}", f"airflow.{name}", f"airflow_{name.replace('.', '_')}") for name in CODE}
    assert set(rows) == expected


def test_the_dashboard_shows_each_metric_and_no_other() -> None:
    assert named_in(DASHBOARD) == IN_PROMETHEUS


def test_the_rules_name_metrics_and_reasons_that_there_are() -> None:
    reasons = {word for listed in re.findall(r'reason=~"([^"]+)"', RULES) for word in listed.split("|")}
    known = set(re.findall(r"`(\w+)`", "".join(re.findall(r"(?m)^\| (`\w+`(?:, `\w+`)*) \|", WARM))))

    assert named_in(RULES)
    assert named_in(RULES) <= IN_PROMETHEUS
    assert reasons <= known
    assert set(re.findall(r"- alert: (\w+)", RULES)) == set(re.findall(r"(?m)^\| `(\w+)` \| ", PAGE))


def test_a_metric_of_airflow_is_one() -> None:
    """Airflow 3.2 and later have a list of their metrics."""
    registry = import_module("airflow.sdk._shared.observability.metrics.metrics_registry").MetricsRegistry()

    # Whatever of Airflow's is named is written without the pattern that ours have.
    others = set(re.findall(r"\bairflow_(?!cosmos_venv)([a-z_]+)", DASHBOARD + RULES))
    assert others == {name.replace(".", "_") for name in OF_AIRFLOW}
    assert all(registry.get(name=name) for name in OF_AIRFLOW)


def queries() -> list[str]:
    panels = json.loads(DASHBOARD)["panels"]
    rules = [rule for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"]]
    return [target["expr"] for panel in panels for target in panel["targets"]] + [rule["expr"] for rule in rules]


@pytest.mark.parametrize("query", queries())
def test_a_query_closes_what_it_opens(query: str) -> None:
    open_ones: list[str] = []
    for letter in re.sub(r'"[^"]*"', "", query):
        if letter in "([{":
            open_ones.append({"(": ")", "[": "]", "{": "}"}[letter])
        elif letter in ")]}":
            assert open_ones.pop() == letter, query

    assert open_ones == []
    assert query.count('"') % 2 == 0
    assert all(re.fullmatch(r"\d+[smhd]|\$__\w+", window) for window in re.findall(r"\[([^\]]*)\]", query))


def test_the_dashboard_is_one() -> None:
    dashboard = json.loads(DASHBOARD)
    taken: set[tuple[int, int]] = set()

    assert {"uid", "title", "schemaVersion", "templating", "time", "panels"} <= dashboard.keys()
    variables = {each["name"] for each in dashboard["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]\w*)", DASHBOARD)) <= variables
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + 8)}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells


def test_each_rule_has_what_prometheus_wants() -> None:
    for group in yaml.safe_load(RULES)["groups"]:
        assert group.keys() == {"name", "rules"}
        for rule in group["rules"]:
            assert (
                {"alert", "expr", "labels", "annotations"}
                <= rule.keys()
                <= {"alert", "expr", "for", "labels", "annotations"}
            )
            assert re.fullmatch(r"\d+[smhd]", rule.get("for", "1m"))


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

    for name in sorted(CODE):
        count(name, TAGS)

    assert client.names == [f"{name},dag_id=shop,task_id=orders.run,reason=first" for name in sorted(CODE)]


def test_opentelemetry_gets_a_sum_that_only_grows(backends: Any) -> None:
    """Of such a sum Prometheus's name ends in ``_total``."""
    from airflow.sdk._shared.observability.metrics.otel_logger import SafeOtelLogger
    from opentelemetry.sdk import environment_variables
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    logger = SafeOtelLogger(MeterProvider(metric_readers=[reader]), "airflow")
    backends.initialize(factory=lambda: logger, export_legacy_names=False)

    for name in CODE:
        count(name, TAGS)

    data: Any = reader.get_metrics_data()
    found = [
        metric for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    ]
    assert {metric.name for metric in found} == {f"airflow.{name}" for name in CODE}
    assert all(metric.data.is_monotonic for metric in found)
    assert [dict(point.attributes) for metric in found for point in metric.data.data_points] == [TAGS] * len(CODE)
    variables = re.findall(r"export (OTEL_\w+)", PAGE)
    assert len(variables) == 2
    assert [name for name in variables if not hasattr(environment_variables, name)] == []
