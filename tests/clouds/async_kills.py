"""What becomes of queries when something goes wrong or a task is killed. Run beside ``async_queries.py``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferralTimeout

from cosmos_venv.compat import AirflowException, AirflowFailException, TaskDeferred
from tests.bigquery_server import BigQueryServer
from tests.clouds.sent_queries import Ti, model

pytest_plugins = ["tests.clouds.sent_queries"]


def test_a_query_runs_where_its_dataset_is_and_is_found_there(
    sent: Any, server: BigQueryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_dataset("marts", "europe-west1")
    server.when(".", is_held=True)
    query = sent()
    triggers = [query.defer().trigger, query.defer().trigger]
    assert [each.arguments["location"] for each in triggers] == ["europe-west1"] * 2

    query.query.cancel()
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.address)
    asyncio.run(triggers[0].on_kill())

    assert [job.is_cancelled for job in server.jobs] == [True, True]


def test_a_query_whose_first_answer_is_lost_is_waited_for(sent: Any, server: BigQueryServer) -> None:
    server.when(".", is_held=True)
    server.lose("POST .*/jobs$")

    query = sent()
    trigger = query.defer().trigger

    assert len(server.jobs) == 1
    assert query.ti.xcoms["bigquery_job"]["job_id"] == trigger.arguments["job_id"] == server.jobs[0].job_id


def test_a_query_that_nobody_can_ask_for_is_cancelled_before_another_is_sent(sent: Any, server: BigQueryServer) -> None:
    server.when(".", is_held=True)
    query = sent()
    query.defer()
    server.refuse("GET .*/jobs/", reason="accessDenied")

    with pytest.raises(AirflowException, match=r"said the trigger; job .* cannot be asked for: Forbidden"):
        query.go_on()

    assert server.jobs[0].is_cancelled


class FailsToPush(Ti):
    """Airflow does not answer when this XCom is pushed."""

    key = ""

    def xcom_push(self, key: str, value: Any) -> None:
        if key == self.key:
            raise RuntimeError(f"{key} is not kept")
        super().xcom_push(key, value)


@pytest.mark.parametrize("key", ["job_id_path", "bigquery_job"])
def test_a_query_that_airflow_does_not_hear_of_is_cancelled(key: str, sent: Any, server: BigQueryServer) -> None:
    server.when(".", is_held=True)
    query = sent()
    query.ti = FailsToPush()
    query.ti.key = key

    with pytest.raises(Exception, match=f"{key} is not kept"):
        query.start()

    assert [job.is_cancelled for job in server.jobs] == [True]


def test_a_query_whose_state_is_not_told_is_cancelled(sent: Any, server: BigQueryServer) -> None:
    server.when(".", is_held=True)
    server.refuse("GET .*/jobs/", reason="accessDenied")

    with pytest.raises(AirflowFailException, match=r"model\.shop\.stg_orders: Forbidden"):
        sent().start()

    assert [job.is_cancelled for job in server.jobs] == [True]


def test_what_is_wrong_before_anything_is_sent_is_said(
    sent: Any, server: BigQueryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = sent()
    monkeypatch.setattr(query.task, "gcp_conn_id", "none_such")

    with pytest.raises(AirflowException, match=r"The conn_id `none_such` isn't defined"):
        query.start()


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ({"job_retries": "x"}, r"target 'dev' of .*profiles\.yml: job_retries is 'x', which is no number"),
        ({"location": "{{ env_var('NONE_SUCH') }}"}, "location of the profile needs .* NONE_SUCH"),
    ],
)
def test_a_profile_that_cannot_be_read_is_named(profile: dict[str, str], words: str, sent: Any) -> None:
    with pytest.raises(AirflowFailException, match=rf"model\.shop\.stg_orders: profile 'shop', .*{words}"):
        sent(profile=profile).start()


def test_long_names_that_begin_alike_have_labels_of_their_own(sent: Any, server: BigQueryServer) -> None:
    for end in ("one", "two"):
        query = sent()
        query.task.model_unique_id = f"model.shop.{'x' * 70}_{end}"
        query.start()

    labels = {job.labels["dbt-node"] for job in server.jobs}
    assert len(labels) == 2
    assert {len(each) for each in labels} == {63}


def test_a_task_that_airflow_fails_in_the_triggerer_cancels_its_query(sent: Any, server: BigQueryServer) -> None:
    server.when(".", is_held=True)
    query = sent()
    query.defer()

    with pytest.raises(TaskDeferralTimeout, match="Trigger timeout"):
        query.task.resume_execution("__fail__", {"error": "Trigger timeout"}, query.context)

    assert server.jobs[0].is_cancelled


def test_a_query_that_somebody_cancels_in_bigquery_is_not_sent_again(sent: Any, server: BigQueryServer) -> None:
    server.when(".", is_held=True)
    query = sent()
    query.defer()
    server.jobs[0].cancel()

    with pytest.raises(AirflowFailException, match=r"model\.shop\.stg_orders: stopped: Job execution was cancelled"):
        query.go_on()

    assert len(server.jobs) == 1


def test_a_query_goes_on_without_its_sql(
    sent: Any, server: BigQueryServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__UPLOAD_SQL_TO_XCOM", "False")
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_TARGET_PATH", str(tmp_path / "shared"))
    server.when(".", is_held=True)
    query = sent()
    query.ti.map_index = 2  # a task that is expanded
    query.defer()

    done = query.task.execute_complete(query.context, {"status": "success", "message": ""})

    assert done == server.jobs[0].job_id


def test_a_task_that_is_killed_before_it_is_deferred_cancels_its_query(sent: Any, server: BigQueryServer) -> None:
    query = sent()
    server.when(".", is_held=True)
    running = query.query
    with pytest.raises(TaskDeferred):
        running.start(model("stg_orders"))

    running.cancel()

    assert server.jobs[0].is_cancelled
