"""The jobs of the fake BigQuery: rules that script their outcome, and the jobs as a test sees them. No SQL is run."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_MADE = re.compile(
    r"\b(?P<verb>create|drop)\s+(?:or\s+replace\s+)?(?P<kind>table|view|schema)\s+(?:if\s+(?:not\s+)?exists\s+)?"
    r"(?P<name>(?:`[^`]+`|[\w-]+)(?:\.(?:`[^`]+`|[\w-]+))*)",
    re.IGNORECASE,
)

_PARTITION = re.compile(
    r"\bpartition\s+by\s+(?:\w+_trunc\((?P<field>\w+),\s*(?P<type>\w+)\)"
    r"|range_bucket\((?P<number>\w+),\s*generate_array\((?P<start>\d+),\s*(?P<end>\d+),\s*(?P<interval>\d+)\)\)"
    r"|(?P<day>\w+))",
    re.IGNORECASE,
)
_CLUSTERS = re.compile(r"\bcluster\s+by\s+(?P<fields>\w+(?:\s*,\s*\w+)*)", re.IGNORECASE)

ANONYMOUS = "_anonymous"
"""The dataset of the rows of queries that name no table."""

HTTP_STATUS = {
    "accessDenied": 403,
    "backendError": 503,
    "internalError": 500,
    "invalidQuery": 400,
    "notFound": 404,
    "quotaExceeded": 403,
    "rateLimitExceeded": 403,
    "resourcesExceeded": 400,
    "stopped": 200,
}
"""The status with which BigQuery's API answers for each reason of an error."""


@dataclass(kw_only=True)
class QueryRule:
    """The scripted outcome of queries whose SQL matches a pattern.

    :param pattern: a regular expression, searched in the SQL without regard to case; ``.`` matches line ends.
    :param seconds: the running time of such a query.
    :param error: the message of its error; None: it succeeds.
    :param reason: BigQuery's reason of that error: ``invalidQuery``, ``backendError``, ``rateLimitExceeded`` ...
    :param times: the number of queries to which the rule applies; None: all.
    :param is_held: whether such a query runs until it is released or cancelled.
    :param billed: the bytes billed; a query with a lower ``maximumBytesBilled`` is refused.
    """

    pattern: str
    seconds: float = 0.0
    error: str | None = None
    reason: str = "invalidQuery"
    times: int | None = None
    is_held: bool = False
    billed: int = 0

    def takes(self, sql: str) -> bool:
        """Whether the rule applies to a query; if so, count the query.

        :param sql: the text of the query.
        """
        if self.times == 0 or not re.search(self.pattern, sql, re.IGNORECASE | re.DOTALL):
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(kw_only=True)
class QueryJob:
    """A query that was sent to the server.

    :param job_id: the id that the client has chosen.
    :param project: the billed project.
    :param location: the location of the job.
    :param configuration: ``JobConfiguration`` as the client sent it.
    :param rule: the scripted outcome of the query.
    :ivar is_cancelled: whether the client has cancelled it.
    :ivar began: seconds of ``time.monotonic`` when it was inserted.
    """

    job_id: str
    project: str
    location: str
    configuration: Mapping[str, Any]
    rule: QueryRule
    is_cancelled: bool = False
    began: float = field(default_factory=time.monotonic)
    _released: threading.Event = field(default_factory=threading.Event, repr=False)
    _created: int = field(default_factory=lambda: int(time.time() * 1000), repr=False)

    @property
    def sql(self) -> str:
        """The text of the query."""
        return str(self.configuration.get("query", {}).get("query", ""))

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the job."""
        return dict(self.configuration.get("labels") or {})

    @property
    def state(self) -> str:
        """``RUNNING`` or ``DONE``."""
        if self.is_cancelled or self._refusal():
            return "DONE"
        if self.rule.is_held:
            return "DONE" if self._released.is_set() else "RUNNING"
        return "DONE" if time.monotonic() >= self.began + self.rule.seconds else "RUNNING"

    @property
    def error(self) -> dict[str, str] | None:
        """The error with which it has ended: ``reason`` and ``message``; None: it has not ended, or succeeded."""
        if self.state != "DONE":
            return None
        if self.is_cancelled:
            return {"reason": "stopped", "message": "Job execution was cancelled: User requested cancellation"}
        if refusal := self._refusal():
            return refusal
        return {"reason": self.rule.reason, "message": self.rule.error} if self.rule.error is not None else None

    def release(self) -> None:
        """End the wait of a held query."""
        self._released.set()

    def cancel(self) -> None:
        """End the query as its client wishes, unless it has ended."""
        if self.state != "DONE":
            self.is_cancelled = True

    def made(self) -> list[tuple[str, str, str]]:
        """The objects that the SQL creates or drops, each as ``("create", "table", "marts.orders")``."""
        found = []
        for each in _MADE.finditer(self.sql):
            kind, parts = each["kind"].lower(), each["name"].replace("`", "").split(".")
            found.append((each["verb"].lower(), kind, ".".join(parts[-1:] if kind == "schema" else parts[-2:])))
        return found

    def layout(self) -> dict[str, Any]:
        """Partitions and clusters of the table that its SQL makes, as fields of the table's resource."""
        made = _MADE.search(self.sql)
        head = re.split(r"\bas\b", self.sql[made.end() :], maxsplit=1, flags=re.IGNORECASE)[0] if made else ""
        found: dict[str, Any] = {}
        if by := _PARTITION.search(head):
            if by["number"]:
                steps = {name: by[name] for name in ("start", "end", "interval")}
                found["rangePartitioning"] = {"field": by["number"], "range": steps}
            else:
                kind = (by["type"] or "DAY").upper()
                found["timePartitioning"] = {"type": kind, "field": by["field"] or by["day"]}
        if by := _CLUSTERS.search(head):
            found["clustering"] = {"fields": re.split(r"\s*,\s*", by["fields"])}
        return found

    def resource(self) -> dict[str, Any]:
        """The job as BigQuery's API shows it."""
        status: dict[str, Any] = {"state": self.state}
        if error := self.error:
            status |= {"errorResult": error, "errors": [error]}
        times = {"creationTime": str(self._created), "startTime": str(self._created)}
        if self.state == "DONE":
            times["endTime"] = str(max(int(time.time() * 1000), self._created))
        found: dict[str, Any] = {
            "kind": "bigquery#job",
            "id": f"{self.project}:{self.location}.{self.job_id}",
            "jobReference": self.reference(),
            "configuration": {**self.configuration, "jobType": "QUERY", "query": self._with_destination()},
            "status": status,
            "statistics": {**times, "totalBytesProcessed": str(self.rule.billed), "query": self._of_query()},
        }
        return found

    def reference(self) -> dict[str, str]:
        """The name of the job as BigQuery's API writes it."""
        return {"projectId": self.project, "jobId": self.job_id, "location": self.location}

    def _with_destination(self) -> dict[str, Any]:
        """The query with the table that it writes, which BigQuery names for every query."""
        names = [name for verb, kind, name in self.made() if verb == "create" and kind != "schema"]
        dataset, _, table = (names[-1] if names else f"{ANONYMOUS}.{self.job_id}").rpartition(".")
        place = {"projectId": self.project, "datasetId": dataset, "tableId": table}
        return {"destinationTable": place, **self.configuration["query"]}

    def _of_query(self) -> dict[str, Any]:
        words = re.sub(r"/\*.*?\*/|\bor\s+replace\s", "", self.sql, flags=re.IGNORECASE | re.DOTALL).split()[:2]
        kind = "_".join(words).upper() if words and words[0].lower() in ("create", "drop") else "SELECT"
        kind = "CREATE_TABLE_AS_SELECT" if kind == "CREATE_TABLE" else kind
        billed = str(self.rule.billed)
        return {"statementType": kind, "totalBytesProcessed": billed, "totalBytesBilled": billed}

    def _refusal(self) -> dict[str, str] | None:
        most = self.configuration.get("query", {}).get("maximumBytesBilled")
        if most is None or self.rule.billed <= int(most):
            return None
        message = f"Query exceeded limit for bytes billed: {most}. {self.rule.billed} or higher required."
        return {"reason": "bytesBilledLimitExceeded", "message": message}
