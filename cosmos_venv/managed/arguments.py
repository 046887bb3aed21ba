"""Which of an operator's arguments decide about its environment? All of them as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv.compat import to_boolean
from cosmos_venv.dbt.command import word_text
from cosmos_venv.environments.words import refuse_anything_but_strings
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from cosmos_venv.environments.spec import EnvironmentSpec
    from cosmos_venv.guarded import Cancellation


@dataclass(frozen=True, kw_only=True)
class VirtualenvArguments:
    """The arguments of an operator that decide about its environment."""

    py_requirements: tuple[str, ...]
    pip_install_options: tuple[str, ...] = ()
    py_system_site_packages: bool = False
    py_executable: str | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> VirtualenvArguments:
        """From ``operator_args`` or an operator's attributes; what does not matter here is ignored.

        :raises CosmosValueError: for anything but lists of texts, paths and numbers.
        """
        words = {}
        for name in ("py_requirements", "pip_install_options"):
            given = arguments.get(name) or ()
            words[name] = tuple(map(word_text, given)) if isinstance(given, list | tuple) else given
            refuse_anything_but_strings(name, words[name])
        return cls(
            py_requirements=tuple(words["py_requirements"]),
            pip_install_options=tuple(words["pip_install_options"]),
            py_system_site_packages=bool(arguments.get("py_system_site_packages")),
            py_executable=arguments.get("py_executable"),
        )

    def spec(self, *, cancellation: Cancellation | None = None) -> EnvironmentSpec:
        """What the environment must be.

        :raises CosmosValueError: when there are no requirements, or one is none.
        :raises CommandKilled: when ``cancellation`` was requested while another Python was asked what it is.
        """
        # Not while a DAG is built of thousands of tasks that name their environments and make none.
        from cosmos_venv.dbt.check import DBT_CHECK
        from cosmos_venv.environments.interpreter import Interpreter
        from cosmos_venv.environments.spec import EnvironmentSpec

        if not self.py_requirements:
            raise CosmosValueError(
                "py_requirements is empty, so the environment would have no dbt. Name the dbt adapter to install, "
                'for example py_requirements=["dbt-core~=1.11.0", "dbt-postgres"].'
            )
        return EnvironmentSpec(
            requirements=self.py_requirements,
            pip_install_options=self.pip_install_options,
            interpreter=Interpreter.of(self.py_executable, cancellation=cancellation),
            system_site_packages=self.py_system_site_packages,
            check=DBT_CHECK,
        )


def kept_directory(virtualenv_dir: str | Path | None, is_temporary: bool | str) -> Path | None:
    """Where environments are kept; None when each run gets a temporary one.

    :param is_temporary: a text is what a template rendered to.
    :raises CosmosValueError: for an empty text, which would be the working directory.
    """
    if virtualenv_dir is not None and not str(virtualenv_dir).strip():
        raise CosmosValueError(f"virtualenv_dir={str(virtualenv_dir)!r} is empty: name a directory, or leave it out.")
    return None if virtualenv_dir is None or to_boolean(is_temporary) else Path(virtualenv_dir)


def is_template(value: object) -> bool:
    """Whether only a running task knows what this text will be."""
    return any(mark in str(value) for mark in ("{{", "{%"))


def without_worker_python(env: Mapping[str, str]) -> dict[str, str]:
    """The environment variables without those that would lead the environment's Python to the worker's packages."""
    return {name: value for name, value in env.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
