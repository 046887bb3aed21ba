"""A server on 127.0.0.1 that speaks as much of BigQuery's REST API as Google's client library, Airflow and dbt use.

The server accepts queries, reports their states, and records all requests. It runs no SQL: a table exists once a
``create table`` or ``create view`` for it has succeeded.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pytest_cosmos_venv.loopback import HOST, LoopbackServer
from tests.bigquery_jobs import ANONYMOUS, HTTP_STATUS, QueryJob, QueryRule

_PREFIX = re.compile(r"/(?:upload/)?bigquery/v2/projects/(?P<project>[^/]+)/(?P<rest>.*)")
_FOUND_ANYWHERE = ("US", "EU")
_Answer = tuple[int, dict[str, Any]]


class ApiError(Exception):
    """An error in an answer of BigQuery's API.

    :param reason: BigQuery's reason, such as ``notFound``.
    :param message: the message.
    :param status: the HTTP status; None: the usual status for the reason.
    """

    def __init__(self, reason: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = HTTP_STATUS.get(reason, 400) if status is None else status
        error = {"reason": reason, "message": message, "domain": "global"}
        self.body = {"error": {"code": self.status, "message": message, "errors": [error]}}


class BigQueryServer:
    """The server, as a test sees it.

    :param project: the Google Cloud project that the server serves.
    :ivar jobs: all queries that were sent, in the order of their arrival.
    :ivar requests: method and path of every request, without the host.
    :ivar datasets: name -> resource of each dataset.
    """

    def __init__(self, project: str = "test-project") -> None:
        self.project = project
        self.jobs: list[QueryJob] = []
        self.requests: list[tuple[str, str]] = []
        self._tables: dict[str, dict[str, Any]] = {}
        self.datasets: dict[str, dict[str, Any]] = {}
        self._rules: list[QueryRule] = []
        self._refusals: list[tuple[re.Pattern[str], ApiError]] = []
        self._losses: list[re.Pattern[str]] = []
        self._lock = threading.RLock()
        self._noted: set[str] = set()
        self._http = LoopbackServer(_handler(self))

    def start(self) -> None:
        """Answer from now on."""
        self._http.start()

    def close(self) -> None:
        """End the server.

        :raises Exception: the first exception in the server's own code.
        """
        self._http.close()

    @property
    def tables(self) -> dict[str, dict[str, Any]]:
        """``dataset.table`` -> resource of each table and view, made by a query or by ``add_table``."""
        with self._lock:
            self._note_tables()
            return {**self._tables}

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self._http.server_port}"

    @property
    def url(self) -> str:
        """The beginning of its URLs, for ``api_endpoint``."""
        return f"http://{self.address}"

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables by which Google's client library finds it."""
        return {"BIGQUERY_EMULATOR_HOST": self.url, "GOOGLE_CLOUD_PROJECT": self.project}

    @property
    def connection(self) -> str:
        """An Airflow connection to the project, without credentials, for ``AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT``."""
        extra = {"project": self.project, "is_anonymous": True, "dataset": "marts"}
        return json.dumps({"conn_type": "google_cloud_platform", "extra": extra})

    def profile(self, dataset: str = "marts", **fields: Any) -> dict[str, Any]:
        """An output of ``profiles.yml`` by which dbt-bigquery reaches the server.

        :param dataset: the dataset in which dbt builds.
        :param **fields: further fields of the profile; they replace the defaults.
        """
        own = {
            "type": "bigquery",
            "method": "oauth-secrets",
            "token": "none",
            "project": self.project,
            "dataset": dataset,
            "api_endpoint": self.url,
            "threads": 1,
        }
        return own | fields

    def when(self, pattern: str, **how: Any) -> QueryRule:
        """Script the outcome of queries; the newest rule that matches a query applies.

        :param pattern: a regular expression, searched in the SQL without regard to case.
        :param **how: ``seconds``, ``error``, ``reason``, ``times``, ``is_held``, ``billed`` of ``QueryRule``.
        """
        rule = QueryRule(pattern=pattern, **how)
        with self._lock:
            self._rules.insert(0, rule)
        return rule

    def refuse(self, path: str, *, reason: str = "backendError", times: int = 1, status: int | None = None) -> None:
        """Answer the next requests with an error.

        :param path: a regular expression, searched in ``METHOD path``.
        :param reason: BigQuery's reason of the error.
        :param times: the number of requests.
        :param status: the HTTP status; None: the usual status for the reason.
        """
        with self._lock:
            error = ApiError(reason, f"{reason}, as the test wants it", status)
            self._refusals += [(re.compile(path), error)] * times

    def lose(self, path: str, *, times: int = 1) -> None:
        """Process the next requests and answer them with an error, as when a connection breaks before the answer.

        :param path: a regular expression, searched in ``METHOD path``.
        :param times: the number of requests.
        """
        with self._lock:
            self._losses += [re.compile(path)] * times

    def answer(self, method: str, path: str, body: Mapping[str, Any], location: str | None = None) -> _Answer:
        """The answer to one request: status and resource.

        :param method: the HTTP method.
        :param path: the path without the query string.
        :param body: the decoded JSON body.
        :param location: the location of the requested job in the request; None: the request names none.
        :raises ApiError: the error that BigQuery would return.
        """
        with self._lock:
            self.requests.append((method, path))
            for number, (pattern, error) in enumerate(self._refusals):
                if pattern.search(f"{method} {path}"):
                    del self._refusals[number]
                    raise error
            found = _PREFIX.match(path)
            if found is None:
                raise ApiError("notFound", f"This server does not know {method} {path}", 404)
            self._note_tables()
            kind, *names = [unquote(each) for each in found["rest"].split("/")]
            answer: Callable[..., _Answer] | None = getattr(self, f"_{method.lower()}_{kind}", None)
            if answer is None:
                raise ApiError("notFound", f"This server does not know {method} {path}", 404)
            if kind in ("jobs", "queries") and names:
                self._require_location(self._job(names[0]), location)
            done = answer(found["project"], names, body)
            for number, pattern in enumerate(self._losses):
                if pattern.search(f"{method} {path}"):
                    del self._losses[number]
                    raise ApiError("backendError", "The answer is lost, as the test wants it")
            return done

    def _post_jobs(self, project: str, names: list[str], body: Mapping[str, Any]) -> _Answer:
        if names[1:] == ["cancel"]:
            job = self._job(names[0])
            job.cancel()
            return 200, {"kind": "bigquery#jobCancelResponse", "job": job.resource()}
        reference = body.get("jobReference") or {}
        return 200, self._insert(project, reference, body.get("configuration") or {}).resource()

    def _post_queries(self, project: str, _: list[str], body: Mapping[str, Any]) -> _Answer:
        of_job = {"labels", "jobTimeoutMs", "dryRun"}
        query = {name: each for name, each in body.items() if name not in of_job}
        configuration = {"query": query, **{name: body[name] for name in of_job & body.keys()}}
        return 200, self._results(self._insert(project, {"location": body.get("location")}, configuration))

    def _get_jobs(self, _: str, names: list[str], __: Mapping[str, Any]) -> _Answer:
        if not names:
            return 200, {"kind": "bigquery#jobList", "jobs": [job.resource() for job in self.jobs]}
        return 200, self._job(names[0]).resource()

    def _get_queries(self, _: str, names: list[str], __: Mapping[str, Any]) -> _Answer:
        return 200, self._results(self._job(names[0]))

    def _get_datasets(self, project: str, names: list[str], _: Mapping[str, Any]) -> _Answer:
        if not names:
            return 200, {"kind": "bigquery#datasetList", "datasets": [*self.datasets.values()]}
        dataset, *rest = names
        if dataset == ANONYMOUS and rest:  # BigQuery keeps the rows of a query without a destination there
            return 200, _table(project, dataset, rest[1])
        if dataset not in self.datasets:
            raise ApiError("notFound", f"Not found: Dataset {project}:{dataset}")
        if not rest:
            return 200, self.datasets[dataset]
        if rest == ["routines"]:
            return 200, {"kind": "bigquery#routineList", "routines": []}
        if len(rest) == 1:
            tables = [each for name, each in self._tables.items() if name.startswith(f"{dataset}.")]
            return 200, {"kind": "bigquery#tableList", "tables": tables, "totalItems": len(tables)}
        if (name := f"{dataset}.{rest[1]}") not in self._tables:
            raise ApiError("notFound", f"Not found: Table {project}:{name}")
        return 200, self._tables[name]

    def _post_datasets(self, project: str, names: list[str], body: Mapping[str, Any]) -> _Answer:
        if not names:
            name = body["datasetReference"]["datasetId"]
            if name in self.datasets:
                raise ApiError("duplicate", f"Already Exists: Dataset {project}:{name}", 409)
            self.datasets[name] = {"kind": "bigquery#dataset", "id": f"{project}:{name}", "location": "US", **body}
            return 200, self.datasets[name]
        table = body["tableReference"]["tableId"]
        return 200, self.add_table(f"{names[0]}.{table}", **{key: body[key] for key in body if key != "tableReference"})

    def _patch_datasets(self, project: str, names: list[str], body: Mapping[str, Any]) -> _Answer:
        _, found = self._get_datasets(project, names, {})
        found |= body
        return 200, found

    def _delete_datasets(self, project: str, names: list[str], _: Mapping[str, Any]) -> _Answer:
        kept, name = (self._tables, ".".join(names[::2])) if len(names) > 1 else (self.datasets, names[0])
        if kept.pop(name, None) is None:
            raise ApiError("notFound", f"Not found: {project}:{name}")
        return 204, {}

    def add_table(self, name: str, **fields: Any) -> dict[str, Any]:
        """Add a table and its dataset, and return the table's resource.

        :param name: ``dataset.table``.
        :param **fields: fields of the resource: ``type`` (TABLE or VIEW), ``timePartitioning``, ``clustering`` ...
        """
        dataset, _, table = name.partition(".")
        location = self.add_dataset(dataset)["location"]
        self._tables[name] = {**_table(self.project, dataset, table), "location": location, **fields}
        return self._tables[name]

    def add_dataset(self, name: str, location: str = "US") -> dict[str, Any]:
        """Add a dataset, and return its resource; an existing dataset is not changed.

        :param name: the name of the dataset.
        :param location: the location of the dataset: ``EU``, ``europe-west1`` ...
        """
        own = {"kind": "bigquery#dataset", "id": f"{self.project}:{name}", "location": location}
        reference = {"projectId": self.project, "datasetId": name}
        return self.datasets.setdefault(name, {**own, "datasetReference": reference})

    def _insert(self, project: str, reference: Mapping[str, Any], configuration: Mapping[str, Any]) -> QueryJob:
        if "query" not in configuration:
            raise ApiError("invalid", f"This server runs queries alone, no {', '.join(configuration) or 'empty job'}")
        job_id = str(reference.get("jobId") or f"job_{len(self.jobs)}")
        if any(job.job_id == job_id for job in self.jobs):
            raise ApiError("duplicate", f"Already Exists: Job {project}:US.{job_id}", 409)
        sql = str(configuration["query"].get("query", ""))
        rule = next((each for each in self._rules if each.takes(sql)), QueryRule(pattern=""))
        location = str(reference.get("location") or "")
        job = QueryJob(job_id=job_id, project=project, location=location, configuration=configuration, rule=rule)
        job.location = location or self._location_of(job)
        if not configuration.get("dryRun"):
            self.jobs.append(job)
        return job

    def _require_location(self, job: QueryJob, location: str | None) -> None:
        """Refuse a request for a job in another location. Without a location, BigQuery searches only US and EU."""
        is_there = (
            job.location.upper() in _FOUND_ANYWHERE if location is None else location.upper() == job.location.upper()
        )
        if not is_there:
            raise ApiError("notFound", f"Not found: Job {job.project}:{location or 'US'}.{job.job_id}")

    def _location_of(self, job: QueryJob) -> str:
        """The location of the dataset that a query writes, which BigQuery takes when the request names no location."""
        datasets = [name.partition(".")[0] for _, kind, name in job.made() if kind != "schema"]
        return next((str(self.datasets[name]["location"]) for name in datasets if name in self.datasets), "US")

    def _job(self, job_id: str) -> QueryJob:
        for job in self.jobs:
            if job.job_id == job_id:
                return job
        raise ApiError("notFound", f"Not found: Job {self.project}:US.{job_id}")

    def _results(self, job: QueryJob) -> dict[str, Any]:
        if error := job.error:
            raise ApiError(error["reason"], error["message"])
        found: dict[str, Any] = {"kind": "bigquery#queryResponse", "jobReference": job.reference()}
        if job.state != "DONE":
            return {**found, "jobComplete": False}
        return {**found, "jobComplete": True, "schema": {"fields": []}, "totalRows": "0", "totalBytesProcessed": "0"}

    def _note_tables(self) -> None:
        """Add or drop the tables of queries that have succeeded since the last call."""
        for job in self.jobs:
            if job.job_id in self._noted or job.state != "DONE":
                continue
            self._noted.add(job.job_id)
            if job.error is None:
                for verb, kind, name in job.made():
                    if kind == "schema":
                        self.add_dataset(name)
                    elif verb == "drop":
                        self._tables.pop(name, None)
                    else:
                        self.add_table(name, type=kind.upper(), **job.layout())


def _table(project: str, dataset: str, table: str) -> dict[str, Any]:
    return {
        "kind": "bigquery#table",
        "id": f"{project}:{dataset}.{table}",
        "tableReference": {"projectId": project, "datasetId": dataset, "tableId": table},
        "type": "TABLE",
        "location": "US",
        "schema": {"fields": []},
        "numRows": "0",
        "numBytes": "0",
    }


def _handler(server: BigQueryServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(length)
            try:
                body = json.loads(text) if text else {}
                url = urlsplit(self.path)
                location = parse_qs(url.query).get("location", [None])[0]
                status, answer = server.answer(self.command, url.path, body, location)
            except ApiError as error:
                status, answer = error.status, error.body
            content = b"" if status == 204 else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = do_PATCH = _do  # noqa: N815 - http.server calls them so

        def log_message(self, *_: object) -> None:
            """Say nothing: the test has ``requests``."""

    return Handler
