"""Checks of single values of a configuration. Each error names the parameter, the value and the way out."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.read_limits import read_file
from cosmos_venv.files.yaml_files import load_yaml
from cosmos_venv.remote.remote_file import url_of

if TYPE_CHECKING:
    from typing_extensions import Self

E = TypeVar("E", bound=Enum)


def refuse_unknown_names(
    owner: str, given: Iterable[str], known: Collection[str], *, verb: str = "takes no argument"
) -> None:
    """Refuse a keyword that a class does not take; the error lists the keywords of a similar name.

    :param owner: the name of the class, or words.
    :param given: names of keywords.
    :param known: names of the keywords that the class takes.
    :param verb: stands between ``owner`` and the keyword in the error.
    :raises CosmosValueError: for the first of ``given`` that is not in ``known``.
    """
    unknown = next((name for name in given if name not in known), None)
    if unknown is None:
        return
    import difflib

    near = difflib.get_close_matches(unknown, sorted(known), n=3)
    advice = f"Did you mean {' or '.join(map(repr, near))}?" if near else "Drop it, or correct its name."
    raise CosmosValueError(f"{owner} {verb} {unknown!r}. {advice}")


class NamedArguments:
    """The base of classes that refuse a misspelt keyword; the error lists the keywords of a similar name.

    The check stands in ``__new__``, since a frame around ``__init__`` would move the line that the warnings of
    ``__init__`` name. A subclass whose constructor has ``**kwargs`` takes any keyword.
    """

    def __new__(cls, *_: object, **given: object) -> Self:
        """The object, before its constructor runs.

        :param **given: the keywords.
        :raises CosmosValueError: for a keyword that the constructor does not take.
        """
        code = cls.__init__.__code__
        if not code.co_flags & inspect.CO_VARKEYWORDS:
            refuse_unknown_names(cls.__name__, given, code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])
        return super().__new__(cls)


def is_template(value: object) -> bool:
    """Return whether a value is a Jinja template, which only a running task renders.

    :param value: an argument of an operator; of a value that is no text, its ``str`` counts.
    """
    return any(mark in str(value) for mark in ("{{", "{%"))


def is_of_another_task(value: object) -> bool:
    """Return whether a value is the output of another task (``XComArg``).

    :param value: what the user has given.
    """
    # Airflow's own test would import Airflow, and its name for the base class differs between releases.
    return hasattr(type(value), "iter_references")


def system_dbt() -> str:
    """The first ``dbt`` on the PATH, else the bare word."""
    return shutil.which("dbt") or "dbt"


def member(kind: type[E], value: object, parameter: str) -> E:
    """The member of an enum, from itself or from its exact text. Cosmos takes any text and fails later, elsewhere.

    :param kind: the enum.
    :param value: a member or a text.
    :param parameter: the name that errors give it: ``RenderConfig.select``.
    :raises CosmosValueError: when there is no such member, with all that there are.
    """
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(f"{kind.__name__}.{each.name}" for each in kind)
        raise CosmosValueError(f"{parameter}={value!r} is none of {choices}.") from None


def texts(value: object, parameter: str) -> list[str]:
    """A list of texts, empty for None.

    :param value: a list or tuple of texts; one text alone is refused, since iterating over it would give letters.
    :param parameter: the name that errors give it: ``RenderConfig.select``.
    :raises CosmosValueError: for anything else.
    """
    if value is None:
        return []
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise CosmosValueError(f"{parameter}={value!r} must be a list of texts, such as ['tag:daily', '+orders'].")
    return list(value)


def as_path(value: str | Path | None) -> Path | None:
    """A path; None for an empty value.

    :param value: a path, a text or None.
    """
    return Path(value) if value else None


def folder_name(path: Path) -> str:
    """A folder's own name up to a dot, for ``.`` and ``..`` too.

    :param path: the folder; links are not followed: a user sees their names.
    """
    return Path(os.path.abspath(path)).stem  # noqa: PTH100 - pathlib's absolute() keeps dots, its resolve() follows links


def local_or_remote(value: str | Path | None, parameter: str) -> Path | str | None:
    """A path on this machine, or a URL as it was given; None for an empty value.

    :param value: a path, a URL, or a ``file://`` URL, which becomes a path.
    :param parameter: the name that errors give it: ``RenderConfig.select``.
    :raises CosmosValueError: for a ``Path`` that was made of a URL.
    """
    if not value:
        return None
    if (url := url_of(value, parameter)) is not None:
        return url
    text = str(value)
    return Path(unquote(urlsplit(text).path)) if text.lower().startswith("file://") else Path(text)


def refuse_no_mapping(parameter: str, value: object) -> None:
    """Refuse anything but a mapping or None.

    :param parameter: the name that errors give it: ``RenderConfig.select``.
    :param value: what the user has given.
    :raises CosmosValueError: for anything else.
    """
    if value is not None and not isinstance(value, Mapping):
        raise CosmosValueError(f"{parameter}={value!r} must be a dict.")


def refuse_text_for_boolean(parameter: str, value: object) -> None:
    """Refuse a text where a boolean is meant: "False" of an Airflow Variable would count as True.

    :param parameter: the name that errors give it: ``RenderConfig.source_pruning``.
    :param value: what the user has given.
    :raises CosmosValueError: for a text.
    """
    if isinstance(value, str):
        raise CosmosValueError(f"{parameter}={value!r} is a text. Give True or False.")


def refuse_not_callable(parameter: str, value: object) -> None:
    """Refuse anything but a callable or None.

    :param parameter: the name that errors give it: ``RenderConfig.select``.
    :param value: what the user has given.
    :raises CosmosValueError: for anything else.
    """
    if value is not None and not callable(value):
        raise CosmosValueError(f"{parameter}={value!r} cannot be called. Give a function of one node.")


def require(is_there: bool, parameter: str, path: Path, what: str) -> None:
    """Refuse a path at which something is missing.

    :param is_there: whether it is there.
    :param parameter: the name that errors give it: ``RenderConfig.select``.
    :param path: the path, absolute or relative to the working directory.
    :param what: what must be there, in words: ``models folder``.
    :raises CosmosValueError: when it is not there.
    """
    if not is_there:
        raise CosmosValueError(
            f"{parameter}: there is no {what} at {path.absolute()}. Correct the path or deploy the file."
        )


def yaml_file(path: Path) -> object:
    """The content of a YAML file, as plain data.

    :param path: the file.
    :raises CosmosValueError: when it cannot be read, or is no YAML.
    """
    import yaml

    try:
        return load_yaml(read_file(path).decode())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CosmosValueError(f"{path} cannot be read as YAML: {error}") from None
    except OSError as error:
        raise CosmosValueError(f"{path} cannot be read: {error.strerror or error}.") from error
