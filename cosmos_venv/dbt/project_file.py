"""What is read of ``dbt_project.yml``: the project's name in dbt, and where its packages and its files are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.limits import read_file
from cosmos_venv.os_errors import told
from cosmos_venv.yaml_text import load_yaml

DEFAULT_PACKAGES_FOLDER = "dbt_packages"
DEFAULT_SEED_PATHS = ("seeds",)


@dataclass(frozen=True, kw_only=True)
class DbtProjectFile:
    """:param name: None where the file names none.
    :param seed_paths: the folders in which dbt looks for seeds, relative to the project; None where only dbt can tell.
    :param paths_outside: those of all its folders (``macro-paths`` and so on) that lead out of the project, as written.
    """

    name: str | None = None
    packages_folder: str = DEFAULT_PACKAGES_FOLDER
    seed_paths: tuple[str, ...] | None = DEFAULT_SEED_PATHS
    paths_outside: tuple[str, ...] = ()


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
    except OSError as error:
        raise CosmosLoadDbtException(f"{path} cannot be read: {told(error)}") from error
    except UnicodeDecodeError as error:
        raise CosmosLoadDbtException(f"{path} cannot be read: {error}") from error
    content = _parse(path, text)
    name, packages = content.get("name"), content.get("packages-install-path")
    return DbtProjectFile(
        name=str(name) if name else None,
        packages_folder=_render(path, "packages-install-path", str(packages), environment)
        if packages
        else DEFAULT_PACKAGES_FOLDER,
        seed_paths=_seed_paths(content.get("seed-paths")),
        paths_outside=tuple(_paths_outside(path, content, environment)) if ".." in text else (),
    )


def _seed_paths(given: object) -> tuple[str, ...] | None:
    """Jinja in them may ask for ``var()``, which is known to dbt alone; and whatever is no list is dbt's to refuse."""
    if given is None:
        return DEFAULT_SEED_PATHS
    if not isinstance(given, list) or any("{" in str(each) for each in given):
        return None
    return tuple(str(each) for each in given)


def _paths_outside(path: Path, content: Mapping[str, object], environment: Mapping[str, str] | None) -> Iterator[str]:
    for key, given in content.items():
        if not (str(key).endswith("-paths") and isinstance(given, list)):
            continue
        for each in map(str, given):
            with suppress(CosmosLoadDbtException):  # Jinja that asks for more than env_var() is dbt's to render
                rendered = _render(path, str(key), each, environment)
                if PurePath(os.path.normpath(rendered)).parts[:1] == ("..",):
                    yield rendered


def _parse(path: Path, text: str) -> dict[str, object]:
    import yaml

    try:
        content = load_yaml(text)
    except yaml.YAMLError as error:
        raise CosmosLoadDbtException(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise CosmosLoadDbtException(f"{path} holds no mapping. It must at least say `name: your_project`.")
    return content


def _render(path: Path, key: str, template: str, environment: Mapping[str, str] | None) -> str:
    """The value of a key, which dbt renders with ``env_var()`` and its own ``var()``."""
    if "{{" not in template:
        return template
    import jinja2

    from cosmos_venv.jinja_values import JINJA, VALUE_ERRORS, Unknown, value_of

    variables = os.environ if environment is None else environment

    def env_var(name: str, default: str | None = None) -> str:
        value = variables.get(name, default)
        if value is None:
            raise CosmosLoadDbtException(
                f"{path}: {key} {template!r} needs the environment variable {name}. "
                "Set it where DAGs are parsed, or give env_var() a default."
            )
        return value

    try:
        return str(value_of(JINJA.parse(template), {"env_var": env_var}))
    except Unknown:
        raise CosmosLoadDbtException(
            f"{path}: {key} {template!r} is worked out by dbt alone. Write a path, or env_var() with a name."
        ) from None
    except (jinja2.TemplateError, *VALUE_ERRORS) as error:
        raise CosmosLoadDbtException(f"{path}: {key} {template!r}: {error}") from error
