"""Stand-ins for the three clouds. All above HTTP is real: the providers' hooks, and the clouds' own clients.

For the environment that has the providers. moto is Amazon's S3 as a server on loopback; of the two others there is as
much as the clients ask for when they upload, through ``responses``.
"""

from __future__ import annotations

import email
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import requests
import responses
from moto.server import ThreadedMotoServer

BUCKET = "docs"
KEY = "cGllcg=="
_CREATED = 201
_BLOBS = "https://harbor.blob.core.windows.net/"
_UPLOADS = "https://storage.googleapis.com/upload/storage/v1/b/"


@dataclass(frozen=True)
class Stored:
    """An object in a bucket."""

    content: bytes
    content_type: str


class Cloud(Protocol):
    """A cloud with one bucket, ``docs``.

    :ivar connection: what leads there, for an ``AIRFLOW_CONN_…`` variable.
    """

    connection: dict[str, Any]

    @property
    def objects(self) -> dict[str, Stored]:
        """The uploaded objects of the bucket, by key."""


@dataclass
class S3:
    """Amazon's."""

    endpoint: str

    def __post_init__(self) -> None:
        self.connection: dict[str, Any] = {
            "conn_type": "aws",
            "login": "pier",
            "password": "s3cret-word",
            "extra": {"endpoint_url": self.endpoint, "region_name": "eu-central-1"},
        }
        self._client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="eu-central-1",
            aws_access_key_id="pier",
            aws_secret_access_key="s3cret-word",
        )
        place = {"LocationConstraint": "eu-central-1"}
        self._client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)

    @property
    def objects(self) -> dict[str, Stored]:
        keys = [entry["Key"] for entry in self._client.list_objects_v2(Bucket=BUCKET).get("Contents", ())]
        found = {key: self._client.get_object(Bucket=BUCKET, Key=key) for key in keys}
        return {key: Stored(each["Body"].read(), each["ContentType"]) for key, each in found.items()}

    def clear(self) -> None:
        """Remove all objects."""
        for key in self.objects:
            self._client.delete_object(Bucket=BUCKET, Key=key)


@contextmanager
def amazon() -> Iterator[S3]:
    """S3, as a server on loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        requests.post(f"{endpoint}/moto-api/reset", timeout=10)  # its buckets are those of the process
        yield S3(endpoint)
    finally:
        server.stop()


class Google:
    """Google Cloud Storage, of which it knows the upload of one object in one request."""

    def __init__(self) -> None:
        self.connection = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "pier"}}
        self.objects: dict[str, Stored] = {}

    def take(self, request: Any) -> tuple[int, dict[str, str], str]:
        """Metadata and content come as the two parts of one message."""
        url = urlsplit(request.url)
        assert parse_qs(url.query)["uploadType"] == ["multipart"]
        assert url.path.endswith(f"/b/{BUCKET}/o")
        head = f"Content-Type: {request.headers['content-type'].decode()}\r\n\r\n".encode()
        message: Any = email.message_from_bytes(head + request.body)
        described, content = message.get_payload()
        told = json.loads(described.get_payload(decode=True))
        self.objects[told["name"]] = Stored(content.get_payload(decode=True), content.get_content_type())
        return 200, {}, json.dumps({**told, "bucket": BUCKET})


class Azure:
    """Azure Blob Storage, of which it knows the upload of one blob in one request."""

    def __init__(self) -> None:
        self.connection = {"conn_type": "wasb", "login": "harbor", "password": KEY}
        self.objects: dict[str, Stored] = {}

    def take(self, request: Any) -> tuple[int, dict[str, str], str]:
        """Without ``If-None-Match`` a blob that is there is replaced."""
        assert request.headers["x-ms-blob-type"] == "BlockBlob"
        assert "If-None-Match" not in request.headers
        bucket, _, key = unquote(urlsplit(request.url).path).lstrip("/").partition("/")
        assert bucket == BUCKET
        content = request.body if isinstance(request.body, bytes) else request.body.read()
        told = request.headers.get("x-ms-blob-content-type", "application/octet-stream")
        self.objects[key] = Stored(content, told)
        return _CREATED, {"ETag": '"1"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}, ""


@contextmanager
def google() -> Iterator[Google]:
    """Google Cloud Storage, in this process."""
    cloud = Google()
    with responses.RequestsMock(assert_all_requests_are_fired=False) as pretence:
        pretence.add_callback("POST", re.compile(_UPLOADS), cloud.take)
        yield cloud


@contextmanager
def microsoft() -> Iterator[Azure]:
    """Azure Blob Storage, in this process."""
    cloud = Azure()
    with responses.RequestsMock(assert_all_requests_are_fired=False) as pretence:
        pretence.add_callback("PUT", re.compile(_BLOBS), cloud.take)
        yield cloud
