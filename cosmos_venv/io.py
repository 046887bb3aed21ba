"""Uploads of a task's artifacts: to S3, Google Cloud Storage, Azure, or any object storage that Airflow knows.

The functions called ``upload_to_…`` are callbacks: ``callback=upload_to_aws_s3, callback_args={"bucket_name": "b"}``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from shutil import make_archive
from typing import TYPE_CHECKING, Any

from cosmos_venv import settings
from cosmos_venv.compat import AirflowException, object_storage_path
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from cosmos_venv.dbt.results import Artifacts

__all__ = ["upload_to_aws_s3", "upload_to_azure_wasb", "upload_to_cloud_storage", "upload_to_gcp_gs"]

DEFAULT_TARGET = "target"
_NO_TARGET = (
    "[cosmos] remote_target_path is not set: it says where artifacts go, such as s3://bucket/dbt. Set it, or do "
    "without should_upload_compiled_sql and upload_to_cloud_storage."
)


def upload_to_aws_s3(
    project_dir: str,
    bucket_name: str,
    aws_conn_id: str | None = None,
    source_subpath: str = DEFAULT_TARGET,
    use_tarball: bool = False,
    **kwargs: Any,
) -> None:
    """Upload a folder of the finished run to S3, below ``dag_id/run_id/task_id/try_number``.

    A mapped task has its index behind its ``task_id``, as a folder of its own.

    :param project_dir: the folder in which dbt ran.
    :param bucket_name: of the bucket.
    :param aws_conn_id: Airflow Connection; None: the provider's default.
    :param source_subpath: the folder, relative to ``project_dir``.
    :param use_tarball: one ``….tar.gz`` instead of each file.
    :param **kwargs: ``context``: Airflow's context of the running task.
    :raises AirflowException: when the provider is not installed.
    """
    s3_hook = optional_hook("airflow.providers.amazon.aws.hooks.s3", "S3Hook", "apache-airflow-providers-amazon")
    hook = s3_hook(aws_conn_id=aws_conn_id or s3_hook.default_conn_name)
    for key, file in _objects(project_dir, source_subpath, kwargs["context"], use_tarball=use_tarball):
        hook.load_file(filename=str(file), bucket_name=bucket_name, key=key, replace=True)


def upload_to_gcp_gs(
    project_dir: str,
    bucket_name: str,
    gcp_conn_id: str | None = None,
    source_subpath: str = DEFAULT_TARGET,
    use_tarball: bool = False,
    **kwargs: Any,
) -> None:
    """Upload a folder of the finished run to Google Cloud Storage, as ``upload_to_aws_s3`` does to S3.

    :param project_dir: the folder in which dbt ran.
    :param bucket_name: of the bucket.
    :param gcp_conn_id: Airflow Connection; None: the provider's default.
    :param source_subpath: the folder, relative to ``project_dir``.
    :param use_tarball: one ``….tar.gz`` instead of each file.
    :param **kwargs: ``context``: Airflow's context of the running task.
    :raises AirflowException: when the provider is not installed.
    """
    gcs_hook = optional_hook("airflow.providers.google.cloud.hooks.gcs", "GCSHook", "apache-airflow-providers-google")
    hook = gcs_hook(gcp_conn_id=gcp_conn_id or gcs_hook.default_conn_name)
    for key, file in _objects(project_dir, source_subpath, kwargs["context"], use_tarball=use_tarball):
        hook.upload(bucket_name=bucket_name, object_name=key, filename=str(file))


def upload_to_azure_wasb(
    project_dir: str,
    container_name: str,
    azure_conn_id: str | None = None,
    source_subpath: str = DEFAULT_TARGET,
    use_tarball: bool = False,
    **kwargs: Any,
) -> None:
    """Upload a folder of the finished run to Azure Blob Storage, as ``upload_to_aws_s3`` does to S3.

    :param project_dir: the folder in which dbt ran.
    :param container_name: of the container.
    :param azure_conn_id: Airflow Connection; None: the provider's default.
    :param source_subpath: the folder, relative to ``project_dir``.
    :param use_tarball: one ``….tar.gz`` instead of each file.
    :param **kwargs: ``context``: Airflow's context of the running task.
    :raises AirflowException: when the provider is not installed.
    """
    wasb_hook = optional_hook(
        "airflow.providers.microsoft.azure.hooks.wasb", "WasbHook", "apache-airflow-providers-microsoft-azure"
    )
    hook = wasb_hook(wasb_conn_id=azure_conn_id or wasb_hook.default_conn_name)
    for key, file in _objects(project_dir, source_subpath, kwargs["context"], use_tarball=use_tarball):
        hook.load_file(file_path=str(file), container_name=container_name, blob_name=key, overwrite=True)


def upload_to_cloud_storage(project_dir: str, source_subpath: str = DEFAULT_TARGET, **kwargs: Any) -> None:
    """Upload a folder of the finished run to where ``[cosmos] remote_target_path`` leads, as ``upload_to_aws_s3`` does
    to S3.

    :param project_dir: the folder in which dbt ran.
    :param source_subpath: the folder, relative to ``project_dir``.
    :param **kwargs: ``context``: Airflow's context of the running task.
    :raises CosmosValueError: when that setting is empty.
    """
    root = remote_target()
    for key, file in _objects(project_dir, source_subpath, kwargs["context"], use_tarball=False):
        write_to(root / key, file.read_bytes())


def upload_compiled_sql(
    artifacts: Artifacts, context: Mapping[str, Any] | Any, *, report: Callable[..., object]
) -> None:
    """Copy compiled SQL to ``[cosmos] remote_target_path``, below ``<ids of the DAG and its group>/<run>/compiled/``.

    A mapped task has its index behind the run: it compiles the same models as its siblings, to other SQL.

    :param artifacts: of the finished run.
    :param context: of the running task.
    :param report: takes lines for the task's log.
    :raises CosmosValueError: when that setting is empty.
    """
    root = remote_target() / folder_of_sql(context)
    for path in artifacts.sql("compiled"):
        place = root / path.relative_to(artifacts.target).as_posix()
        report("Uploading %s to %s", path.relative_to(artifacts.target), place)
        write_to(place, path.read_bytes())


def folder_of_sql(context: Mapping[str, Any] | Any) -> str:
    """Return the folder of ``upload_compiled_sql``, relative to ``[cosmos] remote_target_path``.

    :param context: of the running task.
    """
    return "/".join([_identifier(context), str(context["run_id"]), *map_index(context)])


def optional_hook(module: str, name: str, package: str) -> Any:
    """Return the class of a hook of a provider that need not be installed.

    :param module: of the hook.
    :param name: of its class.
    :param package: distribution of the provider, for the error.
    :raises AirflowException: when the hook cannot be imported; the text names the package to install.
    """
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise AirflowException(f"{name} is needed and cannot be imported: {error}. Install {package}.") from error


def _identifier(context: Mapping[str, Any]) -> str:
    """Return the ids of the DAG and of the group that holds the dbt project: several groups may run one project.

    For an operator outside of such a group, the innermost group around the operator counts.
    """
    if told := context.get("dbt_dag_task_group_identifier"):
        return str(told)
    innermost = getattr(_task_instance(context).task, "task_group", None)
    group_id = getattr(project_group(innermost) or innermost, "group_id", None)
    return "__".join(filter(None, [str(context["dag"].dag_id), group_id]))


def project_group(task_group: Any) -> Any:
    """Return the nearest DbtTaskGroup, past the groups that it has made for its nodes; None where there is none.

    :param task_group: the innermost group around a task, or None.
    """
    while task_group is not None and not getattr(task_group, "holds_dbt_project", False):
        task_group = getattr(task_group, "parent_group", None)
    return task_group


def map_index(context: Mapping[str, Any]) -> list[str]:
    """Return the index of a mapped task, as a part of a path; nothing for any other task.

    :param context: of the running task.
    """
    index = getattr(context.get("ti") or context.get("task_instance"), "map_index", None)
    return [str(index)] if isinstance(index, int) and index >= 0 else []


def entries_of(folder: Any) -> list[Any]:
    """Return what is in a folder of a storage.

    :param folder: an ObjectStoragePath of Airflow. An object store has no such folder once its last file is deleted.
    :returns: its entries; nothing where it is missing.
    """
    with suppress(FileNotFoundError, NotADirectoryError):  # Airflow 3.3 raises the second one for a missing folder
        return [*folder.iterdir()]
    return []


def _task_instance(context: Mapping[str, Any]) -> Any:
    return context["ti"] if "ti" in context else context["task_instance"]


def _objects(
    project_dir: str, subpath: str, context: Mapping[str, Any], *, use_tarball: bool
) -> Iterator[tuple[str, Path]]:
    """The files to upload, each with its key. A tarball exists until the next item is asked for."""
    ti = _task_instance(context)
    prefix = "/".join([context["dag"].dag_id, context["run_id"], ti.task_id, *map_index(context), str(ti.try_number)])
    folder = Path(project_dir) / subpath
    if not folder.is_dir():
        raise AirflowException(f"source_subpath={subpath!r}: dbt has left no such folder in {project_dir}.")
    if use_tarball:
        from cosmos_venv.processes.scratch import scratch_folder  # no DAG file needs it

        with scratch_folder("cosmos-venv-upload-") as scratch:
            tarball = make_archive(f"{scratch}/tarball", "gztar", root_dir=folder.parent, base_dir=folder.name)
            yield f"{prefix}/{Path(subpath).as_posix()}.tar.gz", Path(tarball)
        return
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield f"{prefix}/{path.relative_to(project_dir).as_posix()}", path


def remote_target(why_not: str = _NO_TARGET) -> Any:
    """Return the folder of ``[cosmos] remote_target_path``, in whichever storage. Nothing is asked or written.

    :param why_not: the error for a setting that is empty.
    :raises CosmosValueError: when the setting is empty.
    """
    if not settings.remote_target_path:
        raise CosmosValueError(why_not)
    return object_storage_path(settings.remote_target_path, settings.remote_target_path_conn_id or None)


def write_to(place: Any, content: bytes) -> None:
    """Write a file of a local folder or of an object store, with the folders above it.

    :param place: a ``Path``, or an Airflow ``ObjectStoragePath``.
    :param content: of the file.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
