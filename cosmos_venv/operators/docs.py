"""dbt's documentation, generated and put where people read it: S3, Azure Blob Storage, Google Cloud Storage.

The provider of the cloud need not be installed where the DAG is parsed. Nothing is uploaded after a failed dbt.
"""

from __future__ import annotations

import mimetypes
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cosmos_venv.compat import AirflowException
from cosmos_venv.dbt.command import flags_of_command
from cosmos_venv.io import optional_hook
from cosmos_venv.operators.base import REQUIRED, DbtDocsMixin
from cosmos_venv.operators.local_base import DbtLocalBaseOperator

if TYPE_CHECKING:
    from cosmos_venv.operators.outcome import Outcome

PAGES = ("index.html", "manifest.json", "catalog.json")
STATIC_PAGES = ("static_index.html",)


class DbtDocsLocalOperator(DbtDocsMixin, DbtLocalBaseOperator):
    """``dbt docs generate`` on the worker. Its files are in dbt's target folder when a ``callback`` is called."""

    @property
    def required_files(self) -> list[str]:
        """The files that make up the documentation: one, with the flag ``--static``."""
        is_static = "--static" in flags_of_command(self.dbt_cmd_flags, self.base_cmd)
        return list(STATIC_PAGES if is_static else PAGES)


class DbtDocsCloudLocalOperator(DbtDocsLocalOperator):
    """``dbt docs generate``, and the files uploaded; each cloud is a class of its own.

    Parameters of its own: ``connection_id`` and ``bucket_name``, required, and ``folder_dir``, which the files' keys
    begin with.
    """

    own_parameters: ClassVar[Mapping[str, Any]] = {
        "connection_id": REQUIRED,
        "bucket_name": REQUIRED,
        "folder_dir": None,
    }
    #: what the keys of uploaded files are told to begin with in the log.
    scheme: ClassVar[str]
    connection_id: str
    bucket_name: str
    folder_dir: str | None

    @abstractmethod
    def upload(self, file: Path, key: str) -> None:
        """Put the file into the bucket, over one that is there.

        :raises AirflowException: when the provider is not installed, with its package.
        """

    def _after_success(self, outcome: Outcome) -> None:
        self.log.info("Attempting to upload generated docs to %s://%s", self.scheme, self.bucket_name)
        for name in self.required_files:
            file = outcome.artifacts.target / name
            if not file.is_file():
                raise AirflowException(f"dbt docs generate has left no {name} in its target folder; nothing to upload.")
            key = f"{self.folder_dir.rstrip('/')}/{name}" if self.folder_dir else name
            self.log.info("Uploading %s to %s://%s/%s", name, self.scheme, self.bucket_name, key)
            self.upload(file, key)


class DbtDocsS3LocalOperator(DbtDocsCloudLocalOperator):
    """``dbt docs generate``, and the files uploaded to S3."""

    old_names: ClassVar[Mapping[str, str]] = {"aws_conn_id": "connection_id"}
    scheme = "s3"
    ui_color = "#FF9900"

    def upload(self, file: Path, key: str) -> None:
        s3_hook = optional_hook("airflow.providers.amazon.aws.hooks.s3", "S3Hook", "apache-airflow-providers-amazon")
        hook = s3_hook(aws_conn_id=self.connection_id, extra_args={"ContentType": _content_type(file)})
        hook.load_file(filename=str(file), bucket_name=self.bucket_name, key=key, replace=True)


class DbtDocsAzureStorageLocalOperator(DbtDocsCloudLocalOperator):
    """``dbt docs generate``, and the files uploaded to a container of Azure Blob Storage."""

    old_names: ClassVar[Mapping[str, str]] = {"azure_conn_id": "connection_id", "container_name": "bucket_name"}
    scheme = "wasb"
    ui_color = "#007FFF"

    def upload(self, file: Path, key: str) -> None:
        package = "apache-airflow-providers-microsoft-azure"
        hook = optional_hook("airflow.providers.microsoft.azure.hooks.wasb", "WasbHook", package)(
            wasb_conn_id=self.connection_id
        )
        content = optional_hook("azure.storage.blob", "ContentSettings", package)(content_type=_content_type(file))
        place = {"container_name": self.bucket_name, "blob_name": key}
        hook.load_file(file_path=str(file), **place, overwrite=True, content_settings=content)


class DbtDocsGCSLocalOperator(DbtDocsCloudLocalOperator):
    """``dbt docs generate``, and the files uploaded to Google Cloud Storage."""

    scheme = "gs"
    ui_color = "#4772d5"

    def upload(self, file: Path, key: str) -> None:
        gcs = "airflow.providers.google.cloud.hooks.gcs"
        hook = optional_hook(gcs, "GCSHook", "apache-airflow-providers-google")(gcp_conn_id=self.connection_id)
        hook.upload(bucket_name=self.bucket_name, object_name=key, filename=str(file), mime_type=_content_type(file))


def _content_type(file: Path) -> str:
    """A browser shows a page only if it is told that it is one."""
    return mimetypes.guess_type(file.name)[0] or "application/octet-stream"
