"""Substitutes for a DAG file in a test: folders of the test for environments, and made-up Connections."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

from pytest_cosmos_venv.airflow.connections import Connections, made_up
from pytest_cosmos_venv.implementation import Implementation

MADE_UP = "made up"
"""The value of ``connections=`` that lets Connections be made up."""
_DIRECTORY = "virtualenv_dir"
_Arguments = dict[str, Any]


class EnvironmentFolders:
    """Folders for environments in place of each ``virtualenv_dir`` that DAG files name.

    :param folder: the folder in which they are made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, named: Path | str) -> Path:
        """Return the folder that stands for a ``virtualenv_dir``; the same one each time and in each process.

        :param named: the ``virtualenv_dir`` that the file names, or a folder that stands for one already.
        """
        path = Path(os.path.abspath(named))  # noqa: PTH100 - a link stays what it is
        if path.is_relative_to(self._folder):
            return path
        # Two files may use virtualenv_dirs with the same last part.
        return self._folder / f"{path.name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:6]}"

    def used_by(self, execution_config: Any) -> AbstractContextManager[Any]:
        """Use these folders in all configurations that are made within the block.

        :param execution_config: the class ``ExecutionConfig`` of an implementation.
        """

        def lead(arguments: _Arguments) -> None:
            if arguments.get(_DIRECTORY):
                arguments[_DIRECTORY] = self.of(arguments[_DIRECTORY])

        return _arguments_seen(execution_config, lead)


@dataclass(frozen=True, kw_only=True)
class Substitutes:
    """The substitutes of one test.

    A file and its tasks have different folders, as a DAG processor and a worker have. A file that runs ``dbt ls``
    builds an environment: in one folder, a test of a stale lock or of a race would find it built.

    :param folder: the folder of the test.
    :param connections: the Connections of the test.
    """

    folder: Path
    connections: Connections

    @cached_property
    def _folders(self) -> EnvironmentFolders:
        return EnvironmentFolders(self.folder / "dag-processor")

    @contextmanager
    def in_force(self, implementation: Implementation) -> Iterator[dict[str, str]]:
        """Use the substitutes in all configurations that are made within the block.

        :param implementation: the implementation, whose ``config`` has ``ExecutionConfig`` and ``ProfileConfig``.
        :returns: id -> type of each Connection that profiles need and the test has not given. Such a Connection is
            added with made-up fields, and stays until the test ends.
        """
        config = implementation.module("config")
        missing: dict[str, str] = {}

        def know(arguments: _Arguments) -> None:
            mapping = arguments.get("profile_mapping")
            name = getattr(mapping, "conn_id", None)
            if isinstance(name, str) and not self.connections.has(name):
                fields = made_up(mapping, self.folder)
                missing[name] = fields["conn_type"]
                self.connections.add(name, **fields)

        with self._folders.used_by(config.ExecutionConfig), _arguments_seen(config.ProfileConfig, know):
            yield missing

    def lead_tasks(self, dag: Any) -> None:
        """Replace each ``virtualenv_dir`` of a task by a folder of the test.

        :param dag: the DAG; it is changed.
        """
        for task in dag.tasks:
            partial: _Arguments = getattr(task, "partial_kwargs", {})
            if partial.get(_DIRECTORY):
                partial[_DIRECTORY] = self._of_tasks(partial[_DIRECTORY])
            elif given := getattr(task, _DIRECTORY, None):
                setattr(task, _DIRECTORY, self._of_tasks(given))

    def _of_tasks(self, named: Path | str) -> Path:
        of_tasks = self.folder / "environments"
        of_tasks.mkdir(parents=True, exist_ok=True)  # astronomer-cosmos makes only the last folder of a virtualenv_dir
        return Path(named) if Path(named).is_relative_to(of_tasks) else of_tasks / self._folders.of(named).name


def with_init(kind: Any, init: Callable[..., None]) -> AbstractContextManager[Any]:
    """Replace the constructor of a class within a block.

    :param kind: the class.
    :param init: the new constructor, which gets the original as its first argument.
    """
    original = kind.__init__

    @functools.wraps(original)
    def other(*arguments: Any, **keywords: Any) -> None:
        init(original, *arguments, **keywords)

    return mock.patch.object(kind, "__init__", other)


def _arguments_seen(kind: Any, change: Callable[[_Arguments], None]) -> AbstractContextManager[Any]:
    """Within a block, pass the arguments of a class's constructor to a function that may change them."""
    signature = inspect.signature(kind.__init__)

    def init(construct: Callable[..., None], *arguments: Any, **options: Any) -> None:
        try:
            bound = signature.bind(*arguments, **options)
        except TypeError:
            construct(*arguments, **options)  # raises the TypeError of the class itself
            return
        change(bound.arguments)
        construct(*bound.args, **bound.kwargs)

    return with_init(kind, init)
