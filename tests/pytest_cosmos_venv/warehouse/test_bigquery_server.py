"""The local BigQuery over HTTP, as its clients see it. Google's own client library: tests/clouds/async_queries.py."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any

import pytest

from pytest_cosmos_venv import BigQueryServer

PROJECT = "bigquery/v2/projects/test-project"


def ask(server: BigQueryServer, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    data = None if body is None else json.dumps(body).encode()
    connection = HTTPConnection(server.address, timeout=30)
    connection.request(method, f"/{PROJECT}/{path}{'&' if '?' in path else '?'}prettyPrint=false", body=data)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text else {}


def insert(server: BigQueryServer, sql: str, job_id: str = "one", **query: Any) -> dict[str, Any]:
    body = {"jobReference": {"jobId": job_id}, "configuration": {"query": {"query": sql, **query}}}
    status, job = ask(server, "POST", "jobs", body)
    assert status == 200
    return job


def state(server: BigQueryServer, job_id: str = "one") -> tuple[str, str | None]:
    _, job = ask(server, "GET", f"jobs/{job_id}")
    return job["status"]["state"], job["status"].get("errorResult", {}).get("reason")


def test_a_query_ends_at_once_unless_the_test_says_otherwise(cosmos_bigquery: BigQueryServer) -> None:
    job = insert(cosmos_bigquery, "select 1")

    assert job["status"] == {"state": "DONE"}
    assert job["jobReference"] == {"projectId": "test-project", "jobId": "one", "location": "US"}
    assert [each.sql for each in cosmos_bigquery.jobs] == ["select 1"]
    assert cosmos_bigquery.requests == [("POST", f"/{PROJECT}/jobs")]


def test_a_held_query_runs_until_it_is_released(cosmos_bigquery: BigQueryServer) -> None:
    cosmos_bigquery.when("orders", is_held=True)
    insert(cosmos_bigquery, "select * from ORDERS")

    assert state(cosmos_bigquery) == ("RUNNING", None)
    assert ask(cosmos_bigquery, "GET", "queries/one")[1]["jobComplete"] is False
    cosmos_bigquery.wait_for("orders").release()
    assert state(cosmos_bigquery) == ("DONE", None)
    assert ask(cosmos_bigquery, "GET", "queries/one")[1]["jobComplete"] is True


def test_a_cancelled_query_has_ended_by_it(cosmos_bigquery: BigQueryServer) -> None:
    cosmos_bigquery.when(".", is_held=True)
    insert(cosmos_bigquery, "select 1")

    ask(cosmos_bigquery, "POST", "jobs/one/cancel", {})

    assert state(cosmos_bigquery) == ("DONE", "stopped")
    assert cosmos_bigquery.jobs[0].is_cancelled


def test_an_error_is_that_of_the_newest_rule_as_often_as_it_says(cosmos_bigquery: BigQueryServer) -> None:
    cosmos_bigquery.when("select", error="no")
    cosmos_bigquery.when("select", error="later", reason="backendError", times=1)

    for job_id in ("one", "two"):
        insert(cosmos_bigquery, "select 1", job_id)

    assert state(cosmos_bigquery) == ("DONE", "backendError")
    assert state(cosmos_bigquery, "two") == ("DONE", "invalidQuery")
    assert ask(cosmos_bigquery, "GET", "queries/two")[0] == 400


def test_a_request_whose_answer_is_lost_is_done(cosmos_bigquery: BigQueryServer) -> None:
    cosmos_bigquery.lose("POST .*/jobs$")

    body = {"jobReference": {"jobId": "one"}, "configuration": {"query": {"query": "select 1"}}}
    answers = [ask(cosmos_bigquery, "POST", "jobs", body)[0] for _ in range(2)]

    assert answers == [503, 409]
    assert state(cosmos_bigquery) == ("DONE", None)


def test_requests_are_refused_as_often_as_the_test_wants(cosmos_bigquery: BigQueryServer) -> None:
    insert(cosmos_bigquery, "select 1")
    cosmos_bigquery.refuse("GET .*/jobs/", times=2)
    cosmos_bigquery.refuse("GET .*/jobs/", reason="rateLimitExceeded", status=429)

    answers = [ask(cosmos_bigquery, "GET", "jobs/one")[0] for _ in range(4)]

    assert answers == [503, 503, 429, 200]


def test_tables_are_those_that_queries_have_made(cosmos_bigquery: BigQueryServer) -> None:
    cosmos_bigquery.add_table("marts.old", type="VIEW")
    cosmos_bigquery.when("broken", error="no")

    insert(cosmos_bigquery, "drop view if exists `p`.`marts`.`old`;\ncreate or replace table `p`.`marts`.`a` as (1)")
    insert(cosmos_bigquery, "create view x.b as select 1", "two")
    insert(cosmos_bigquery, "create or replace table `p`.`marts`.`broken` as (1)", "three")
    insert(cosmos_bigquery, "create schema if not exists `p`.`other`", "four")

    assert {name: each["type"] for name, each in cosmos_bigquery.tables.items()} == {"marts.a": "TABLE", "x.b": "VIEW"}
    assert ask(cosmos_bigquery, "GET", "datasets/other")[0] == 200
    assert ask(cosmos_bigquery, "GET", "datasets/marts/tables/a")[1]["type"] == "TABLE"
    assert ask(cosmos_bigquery, "GET", "datasets/marts/tables/broken")[0] == 404
    assert ask(cosmos_bigquery, "GET", "datasets/none")[0] == 404
    assert [each["id"] for each in ask(cosmos_bigquery, "GET", "datasets/marts/tables")[1]["tables"]]


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("partition by day cluster by id, name", [{"type": "DAY", "field": "day"}, None, {"fields": ["id", "name"]}]),
        (
            "partition by range_bucket(id, generate_array(0, 100, 10))",
            [None, {"field": "id", "range": {"start": "0", "end": "100", "interval": "10"}}, None],
        ),
    ],
)
def test_a_table_has_the_layout_that_its_query_gives_it(
    layout: str, expected: list[Any], cosmos_bigquery: BigQueryServer
) -> None:
    insert(cosmos_bigquery, f"create or replace table `p`.`marts`.`a` {layout} as (select 1)")

    table = cosmos_bigquery.tables["marts.a"]
    assert [table.get(name) for name in ("timePartitioning", "rangePartitioning", "clustering")] == expected


def test_clients_are_led_to_it(cosmos_bigquery: BigQueryServer) -> None:
    assert cosmos_bigquery.environ["BIGQUERY_EMULATOR_HOST"] == cosmos_bigquery.url
    assert json.loads(cosmos_bigquery.connection)["extra"]["is_anonymous"] is True
    profile = cosmos_bigquery.profile("raw", threads=4)
    assert (profile["api_endpoint"], profile["dataset"], profile["threads"]) == (cosmos_bigquery.url, "raw", 4)
