"""What does a manifest's server answer, request by request? What it was told to, whoever carries it to the client."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse, require_seconds


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer of the script.

    :param after: seconds that it takes.
    :param is_truncated: whether the connection ends in the middle of the manifest.
    """

    status: int
    after: float = 0.0
    is_truncated: bool = False


@dataclass(frozen=True, kw_only=True)
class ManifestRequest:
    """One request, and what it got.

    :param headers: as the client sent them, names in small letters.
    :param status: of the answer.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    status: int


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer as it goes over the wire.

    :param body: whole; who sends it ends in the middle where it is to be truncated.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    after: float
    is_truncated: bool


@dataclass(kw_only=True)
class AnswerScript:
    """The answers in their order; the last one holds for all further requests, and without any it is 200."""

    body: bytes
    answers: list[Answer] = field(default_factory=list)
    requests: list[ManifestRequest] = field(default_factory=list)
    _given: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def etag(self) -> str:
        """Of the manifest as it is now; equal manifests have equal ones."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'

    def add(self, answer: Answer) -> None:
        """Put an answer at the end.

        :raises ToolkitMisuse: it contradicts itself.
        """
        if answer.status not in {status.value for status in HTTPStatus}:
            raise ToolkitMisuse(f"answer({answer.status!r}): that is no HTTP status, such as 200, 404 or 503.")
        if answer.is_truncated and answer.status != HTTPStatus.OK:
            raise ToolkitMisuse(
                f"answer({answer.status}, truncated=True): only the manifest itself (200) is truncated."
            )
        require_seconds(answer.after, "after")
        self.answers.append(answer)

    def reply(self, method: str, path: str, headers: Mapping[str, str]) -> Reply:
        """The next answer, on record as given."""
        with self._lock:
            known = {name.lower(): value for name, value in headers.items()}
            answer = self._next()
            status = answer.status
            if status == HTTPStatus.OK and known.get("if-none-match") == self.etag:
                status = HTTPStatus.NOT_MODIFIED
            self.requests.append(ManifestRequest(method=method, path=path, headers=known, status=int(status)))
            return self._reply(answer, HTTPStatus(status))

    def _next(self) -> Answer:
        if not self.answers:
            return Answer(status=HTTPStatus.OK)
        answer = self.answers[min(self._given, len(self.answers) - 1)]
        self._given += 1
        return answer

    def _reply(self, answer: Answer, status: HTTPStatus) -> Reply:
        headers = {"ETag": self.etag} if status in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED) else {}
        kind = "application/json" if status == HTTPStatus.OK else "text/plain"
        return Reply(
            status=int(status),
            headers={**headers, "Content-Type": kind},
            body=self._body(status),
            after=answer.after,
            is_truncated=answer.is_truncated and status == HTTPStatus.OK,
        )

    def _body(self, status: HTTPStatus) -> bytes:
        if status == HTTPStatus.OK:
            return self.body
        has_none = status < HTTPStatus.OK or status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
        return b"" if has_none else f"{status.value} {status.phrase}\n".encode()


def body_of(manifest: Mapping[str, Any]) -> bytes:
    """The manifest as it goes over the wire.

    :raises ToolkitMisuse: it is nothing that JSON can hold.
    """
    try:
        return json.dumps(manifest).encode()
    except (TypeError, ValueError) as error:
        raise ToolkitMisuse(
            f"cosmos_http_manifest: this is no manifest, since JSON cannot hold it ({error})."
        ) from None
