"""The dbt docs that Airflow's configuration names, and the path of their page in Airflow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import msgspec

from cosmos_venv import settings
from cosmos_venv.config.docs_site import docs_url
from cosmos_venv.credentials import mask
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.remote.remote_file import url_of

PREFIX = "/dbt-docs"
"""Where the pages stand below Airflow's own URL."""

ONLY_PROJECT = "default"
"""The name in URLs of the project of ``dbt_docs_dir``."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_FILE_NAME = re.compile(r"[^/\\\0.][^/\\\0]*")


@dataclass(frozen=True, kw_only=True)
class DocsProject:
    """The dbt docs of one project.

    :param name: its name in URLs.
    :param folder: an absolute path, or a URL.
    :param conn_id: id of an Airflow connection; None: the default one of the storage, where there is any.
    :param index: name of dbt's page in the folder.
    :param title: the name for people.
    :param dag_id: id of a DAG that a user must be allowed to see; None: DAGs in general.
    """

    name: str
    folder: str | Path
    conn_id: str | None = None
    index: str = "index.html"
    title: str
    dag_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Docs:
    """All dbt docs.

    :param projects: by their names in URLs.
    :param problem: a sentence about a setting that is invalid; then there is no project. Empty: all settings are valid.
    """

    projects: Mapping[str, DocsProject] = field(default_factory=dict)
    problem: str = ""


def docs_path(project: str, unique_id: str = "") -> str:
    """Return the path of a project's page below Airflow's own URL: ``/dbt-docs/shop/#!/model/model.shop.orders``.

    :param project: its name in URLs.
    :param unique_id: that dbt gives a node, a source or another thing that it shows; empty: the first page.
    """
    base = f"{PREFIX}/{quote(project, safe='')}/"
    return docs_url(base, unique_id) if unique_id else base


class _Entry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The keys of a project of ``dbt_docs_projects``, which the settings of the only project have too."""

    dir: str
    conn_id: str | None = None
    index: str | None = None
    name: str | None = None
    dag_id: str | None = None


def configured_docs() -> Docs:
    """Return what the settings say now. Nothing is raised: a web server must start also with invalid settings."""
    try:
        return Docs(projects={name: _project(name, entry) for name, entry in _entries().items()})
    except Exception as error:  # noqa: BLE001 - also when the command or secret of a setting fails
        return Docs(problem=f"The settings of dbt docs cannot be used: {mask(str(error))}")


def _entries() -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    if text := settings.dbt_docs_projects:
        try:
            entries = msgspec.json.decode(text, type=dict[str, _Entry])
        except (ValueError, RecursionError) as error:
            raise CosmosValueError(
                'dbt_docs_projects must be a JSON object such as {"shop": {"dir": "s3://bucket/shop"}}, where needed '
                f"with conn_id, index, name and dag_id: {error}."
            ) from None
    if not settings.dbt_docs_dir:
        return entries
    if ONLY_PROJECT in entries:
        raise CosmosValueError(
            f"dbt_docs_projects: the project of dbt_docs_dir has the name {ONLY_PROJECT!r}. Give it another."
        )
    only = _Entry(
        dir=settings.dbt_docs_dir,
        conn_id=settings.dbt_docs_conn_id,
        index=settings.dbt_docs_index_file_name,
        name="dbt docs",
    )
    return {ONLY_PROJECT: only, **entries}


def _project(name: str, entry: _Entry) -> DocsProject:
    parameter = "dbt_docs_dir" if name == ONLY_PROJECT and settings.dbt_docs_dir else f"dbt_docs_projects[{name!r}]"
    if not _NAME.fullmatch(name):
        raise CosmosValueError(f"{parameter}: a name in a URL has letters, digits, - and _ only.")
    index = entry.index or "index.html"
    if not _FILE_NAME.fullmatch(index):
        raise CosmosValueError(f"{parameter}: index {index!r} must be the name of a file.")
    folder = url_of(entry.dir, parameter) or Path(re.sub("^file://", "", entry.dir, flags=re.IGNORECASE))
    if isinstance(folder, Path) and not folder.is_absolute():
        raise CosmosValueError(f"{parameter}: dir {entry.dir!r} must be an absolute path or a URL.")
    return DocsProject(
        name=name,
        folder=folder,
        conn_id=entry.conn_id or None,
        index=index,
        title=entry.name or name,
        dag_id=entry.dag_id or None,
    )
