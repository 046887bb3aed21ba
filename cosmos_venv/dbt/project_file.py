"""What is read of ``dbt_project.yml``: the project's name in dbt, and the folders of its packages and of its files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.limits import read_file
from cosmos_venv.os_errors import told
from cosmos_venv.yaml_text import load_yaml

DEFAULT_PACKAGES_FOLDER = "dbt_packages"
DEFAULT_SEED_PATHS = ("seeds",)
DEFAULT_PATHS = ("analyses", "functions", "macros", "models", "seeds", "snapshots", "tests")


@dataclass(frozen=True, kw_only=True)
class DbtProjectFile:
    """:param name: None where the file names none.
    :param seed_paths: the folders in which dbt looks for seeds, relative to the project; None where only dbt can tell.
    :param paths: all folders in which dbt looks for files (``macro-paths`` and so on), those of dbt's defaults among
        them, whether they are there or not; None where only dbt can tell.
    :param paths_outside: those that lead out of the project, as written.
    """

    name: str | None = None
    packages_folder: str = DEFAULT_PACKAGES_FOLDER
    seed_paths: tuple[str, ...] | None = DEFAULT_SEED_PATHS
    paths: tuple[str, ...] | None = DEFAULT_PATHS
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
    paths = _paths(path, content, environment)
    known = tuple(each for each in paths if each is not None)
    name, packages = content.get("name"), content.get("packages-install-path")
    return DbtProjectFile(
        name=str(name) if name else None,
        packages_folder=_render(path, "packages-install-path", str(packages), environment)
        if packages
        else DEFAULT_PACKAGES_FOLDER,
        seed_paths=_seed_paths(content.get("seed-paths")),
        paths=tuple(dict.fromkeys((*DEFAULT_PATHS, *known))) if len(known) == len(paths) else None,
        paths_outside=tuple(each for each in known if PurePath(os.path.normpath(each)).parts[:1] == ("..",)),
    )


def _seed_paths(given: object) -> tuple[str, ...] | None:
    """Jinja in them may ask for ``var()``, which is known to dbt alone; and whatever is no list is dbt's to refuse."""
    if given is None:
        return DEFAULT_SEED_PATHS
    if not isinstance(given, list) or any("{" in str(each) for each in given):
        return None
    return tuple(str(each) for each in given)


def _paths(path: Path, content: Mapping[str, object], environment: Mapping[str, str] | None) -> list[str | None]:
    """All that are given; None for each that is made by Jinja which asks for more than ``env_var()``, or is no path."""
    found: list[str | None] = []
    for key, given in content.items():
        if str(key).endswith("-paths") and given is not None:
            for each in given if isinstance(given, list) else [None]:
                found.append(None)
                with suppress(CosmosLoadDbtException):
                    found[-1] = None if each is None else _render(path, str(key), str(each), environment)
    return found


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
