"""Is this a value that the configuration can take? If not: which parameter, which value, what instead."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TypeVar

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.read_limits import read_file
from cosmos_venv.files.yaml_files import load_yaml
from cosmos_venv.remote.remote_file import url_of

E = TypeVar("E", bound=Enum)

# Parameters of Cosmos's configuration that this release lacks, with their defaults: any other value is refused.
PARAMETERS_NOT_YET: Mapping[str, Mapping[str, object]] = {
    "ExecutionConfig": {"async_py_requirements": None, "setup_operator_args": None},
}


def system_dbt() -> str:
    """The first ``dbt`` on the PATH, else the bare word."""
    return shutil.which("dbt") or "dbt"


def not_yet(parameter: str, value: object, instead: str) -> CosmosValueError:
    """The error for what Cosmos has and this release lacks."""
    return CosmosValueError(f"{parameter}={value}: cosmos-venv does not have this yet; use {instead}.")


def refuse_parameters_not_yet(owner: str, given: Mapping[str, object]) -> None:
    """:raises CosmosValueError: for a parameter of Cosmos's that this release lacks, unless it says nothing."""
    for name, default in PARAMETERS_NOT_YET[owner].items():
        # Empty for empty: a dict without converters is as good as None.
        if given[name] != default and (given[name] or default):
            raise not_yet(f"{owner}.{name}", given[name], f"the default, {default}")


def member(kind: type[E], value: object, parameter: str) -> E:
    """The enum's member, from itself or from its exact text. Cosmos takes any text and fails later, elsewhere."""
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(f"{kind.__name__}.{each.name}" for each in kind)
        raise CosmosValueError(f"{parameter}={value!r} is none of {choices}.") from None


def texts(value: object, parameter: str) -> list[str]:
    """A list of texts; one text alone is refused, since iterating over it would give letters."""
    if value is None:
        return []
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise CosmosValueError(f"{parameter}={value!r} must be a list of texts, such as ['tag:daily', '+orders'].")
    return list(value)


def as_path(value: str | Path | None) -> Path | None:
    """The value as a path; None when it is empty."""
    return Path(value) if value else None


def folder_name(path: Path) -> str:
    """The folder's own name up to a dot, for ``.`` and ``..`` too; links are not followed: a user sees their names."""
    return Path(os.path.abspath(path)).stem  # noqa: PTH100 - pathlib's absolute() keeps dots, its resolve() follows links


def local_or_remote(value: str | Path | None, parameter: str) -> Path | str | None:
    """A path on this machine, or a URL as it was given.

    :raises CosmosValueError: for a URL that a ``Path`` was made of.
    """
    if not value:
        return None
    url = url_of(value, parameter)
    return _local_path(str(value), parameter) if url is None else url


def _local_path(value: str, parameter: str) -> Path:
    """A path, or what ``file://`` leads to."""
    if not value.lower().startswith("file://"):
        return Path(value)
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(value)
    if parts.netloc not in ("", "localhost"):
        raise CosmosValueError(
            f"{parameter}={value!r} names the host {parts.netloc!r}, and file:// leads to this machine. Give the path "
            "alone, or a URL of a web server or an object store."
        )
    return Path(unquote(parts.path))


def refuse_no_mapping(parameter: str, value: object) -> None:
    """:raises CosmosValueError: for anything but a mapping or None."""
    if value is not None and not isinstance(value, Mapping):
        raise CosmosValueError(f"{parameter}={value!r} must be a dict.")


def refuse_not_callable(parameter: str, value: object) -> None:
    """:raises CosmosValueError: for anything but a callable or None."""
    if value is not None and not callable(value):
        raise CosmosValueError(f"{parameter}={value!r} cannot be called. Give a function of one node.")


def require(is_there: bool, parameter: str, path: Path, what: str) -> None:
    """:raises CosmosValueError: names parameter and path unless ``what`` is there."""
    if not is_there:
        raise CosmosValueError(
            f"{parameter}: there is no {what} at {path.absolute()}. Correct the path or deploy the file."
        )


def deprecated(old: str, new: str, *, stacklevel: int) -> None:
    """Warn at the line of user code that is ``stacklevel`` frames above the caller."""
    warnings.warn(f"{old} is deprecated; use {new}.", DeprecationWarning, stacklevel=stacklevel + 2)


def yaml_file(path: Path) -> object:
    """:raises CosmosValueError: when the file cannot be read, as YAML too."""
    import yaml

    try:
        return load_yaml(read_file(path).decode())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CosmosValueError(f"{path} cannot be read as YAML: {error}") from error
    except OSError as error:
        raise CosmosValueError(f"{path} cannot be read: {error.strerror or error}.") from error
