"""The dbt docs that Airflow's configuration names, and the path of their page in Airflow."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

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
_KEYS = ("dir", "conn_id", "index", "name", "dag_id")


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
    :param problems: sentences about settings that cannot be what they are.
    """

    projects: Mapping[str, DocsProject] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def docs_path(project: str, unique_id: str = "") -> str:
    """Return the path of a project's page below Airflow's own URL: ``/dbt-docs/shop/#!/model/model.shop.orders``.

    :param project: its name in URLs.
    :param unique_id: that dbt gives a node, a source or another thing that it shows; empty: the first page.
    """
    base = f"{PREFIX}/{quote(project, safe='')}/"
    return docs_url(base, unique_id) if unique_id else base


def configured_docs() -> Docs:
    """Return what the settings say now. Nothing is raised: a web server starts whatever they say."""
    projects: dict[str, DocsProject] = {}
    problems = []
    for read in (_the_only_one, _several):
        try:
            found, wrong = read()
        except Exception as error:  # noqa: BLE001 - of a command or secret that Airflow cannot have for a setting
            found, wrong = [], [f"The settings of dbt docs cannot be read: {mask(str(error))}"]
        problems += wrong
        for project in found:
            if projects.setdefault(project.name, project) is not project:
                problems.append(
                    f"dbt_docs_projects[{project.name!r}]: the project of dbt_docs_dir has this name. Give it another."
                )
    return Docs(projects=projects, problems=tuple(problems))


def _the_only_one() -> tuple[list[DocsProject], list[str]]:
    if not settings.dbt_docs_dir:
        return [], []
    said = {
        "dir": settings.dbt_docs_dir,
        "conn_id": settings.dbt_docs_conn_id,
        "index": settings.dbt_docs_index_file_name,
    }
    try:
        return [_project(ONLY_PROJECT, said, dict(zip(said, _OPTIONS, strict=True)), "dbt docs")], []
    except CosmosValueError as error:
        return [], [str(error)]


_OPTIONS = ("dbt_docs_dir", "dbt_docs_conn_id", "dbt_docs_index_file_name")


def _several() -> tuple[list[DocsProject], list[str]]:
    text = settings.dbt_docs_projects
    if not text:
        return [], []
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        return [], [f"dbt_docs_projects is no JSON: {error}."]
    if not isinstance(said, dict):
        return [], ['dbt_docs_projects must be a JSON object such as {"shop": {"dir": "s3://bucket/shop"}}.']
    projects, problems = [], []
    for name, entry in said.items():
        parameter = f"dbt_docs_projects[{name!r}]"
        try:
            projects.append(_project(name, entry, {key: f"{parameter}.{key}" for key in _KEYS}, name))
        except CosmosValueError as error:
            problems.append(str(error))
    return projects, problems


def _project(name: str, said: Any, parameters: Mapping[str, str], title: str) -> DocsProject:
    parameter = f"dbt_docs_projects[{name!r}]"
    if not _NAME.fullmatch(name):
        raise CosmosValueError(f"{parameter}: a name in a URL has letters, digits, - and _ only.")
    if not isinstance(said, dict) or "dir" not in said:
        raise CosmosValueError(f'{parameter} must be an object with a dir, such as {{"dir": "s3://bucket/{name}"}}.')
    for key, value in said.items():
        if key not in _KEYS:
            raise CosmosValueError(f"{parameter} has {key!r}; it can have {', '.join(_KEYS)}.")
        if not isinstance(value, str) and not (value is None and key != "dir"):
            raise CosmosValueError(f"{parameters[key]} must be a text.")
    index = said.get("index") or "index.html"
    if not _FILE_NAME.fullmatch(index):
        raise CosmosValueError(f"{parameters['index']} = {index!r}: it must be the name of a file.")
    return DocsProject(
        name=name,
        folder=_folder(said["dir"], parameters["dir"]),
        conn_id=said.get("conn_id") or None,
        index=index,
        title=said.get("name") or title,
        dag_id=said.get("dag_id") or None,
    )


def _folder(text: str, parameter: str) -> str | Path:
    """The URL, or the path that it is on this machine."""
    url = url_of(text, parameter)
    if url is not None:
        return url
    path = Path(re.sub("^file://", "", text, flags=re.IGNORECASE))
    if not path.is_absolute():
        raise CosmosValueError(f"{parameter} = {text!r}: it must be an absolute path or a URL.")
    return path
