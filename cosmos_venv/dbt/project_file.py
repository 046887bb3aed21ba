"""What is read of ``dbt_project.yml``: the project's name in dbt, and where its packages and its seeds are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.limits import read_file
from cosmos_venv.yaml_text import load_yaml

DEFAULT_PACKAGES_FOLDER = "dbt_packages"
DEFAULT_SEED_PATHS = ("seeds",)


@dataclass(frozen=True, kw_only=True)
class DbtProjectFile:
    """:param name: None where the file names none.
    :param seed_paths: the folders in which dbt looks for seeds, relative to the project; None where only dbt can tell.
    """

    name: str | None = None
    packages_folder: str = DEFAULT_PACKAGES_FOLDER
    seed_paths: tuple[str, ...] | None = DEFAULT_SEED_PATHS


def read_dbt_project(project_path: Path, *, environment: Mapping[str, str] | None = None) -> DbtProjectFile:
    """The project file of that folder; all defaults when there is none (a manifest can be drawn without it).

    :param environment: what ``env_var()`` in the file sees; None: this process's environment.
    :raises CosmosLoadDbtException: when the file is there and cannot be read.
    """
    path = project_path / "dbt_project.yml"
    try:
        text = read_file(path).decode()
    except FileNotFoundError:
        return DbtProjectFile()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CosmosLoadDbtException(f"{path} cannot be read: {reason}") from error
    content = _parse(path, text)
    name, packages = content.get("name"), content.get("packages-install-path")
    return DbtProjectFile(
        name=str(name) if name else None,
        packages_folder=_render(path, str(packages), environment) if packages else DEFAULT_PACKAGES_FOLDER,
        seed_paths=_seed_paths(content.get("seed-paths")),
    )


def _seed_paths(given: object) -> tuple[str, ...] | None:
    """Jinja in them may ask for ``var()``, which is known to dbt alone; and whatever is no list is dbt's to refuse."""
    if given is None:
        return DEFAULT_SEED_PATHS
    if not isinstance(given, list) or any("{" in str(each) for each in given):
        return None
    return tuple(str(each) for each in given)


def _parse(path: Path, text: str) -> dict[str, object]:
    import yaml

    try:
        content = load_yaml(text)
    except yaml.YAMLError as error:
        raise CosmosLoadDbtException(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise CosmosLoadDbtException(f"{path} holds no mapping. It must at least say `name: your_project`.")
    return content


def _render(path: Path, template: str, environment: Mapping[str, str] | None) -> str:
    """dbt renders this file with ``env_var()`` alone."""
    if "{{" not in template:
        return template
    import jinja2.sandbox

    variables = os.environ if environment is None else environment

    def env_var(name: str, default: str | None = None) -> str:
        value = variables.get(name, default)
        if value is None:
            raise CosmosLoadDbtException(
                f"{path}: packages-install-path {template!r} needs the environment variable {name}. "
                "Set it where DAGs are parsed, or give env_var() a default."
            )
        return value

    try:
        return jinja2.sandbox.SandboxedEnvironment().from_string(template).render(env_var=env_var)
    except jinja2.TemplateError as error:
        raise CosmosLoadDbtException(f"{path}: packages-install-path {template!r}: {error}") from error
