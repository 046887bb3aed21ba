"""Faults in classes and parameters."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any, cast

from .mutant import Mutant


class ForgetsAnOperator(Mutant):
    """`dbt clone` came later, and nobody has written the operator."""

    kills = "API-001"

    def operators(self) -> ModuleType:
        names = {name: value for name, value in vars(super().operators()).items() if "Clone" not in name}
        return cast("ModuleType", SimpleNamespace(**names))


class DefaultsToTheWorkersPackages(Mutant):
    """Sees the worker's packages unless told otherwise: it made a first version work."""

    kills = "API-002"

    def operators(self) -> ModuleType:
        module = super().operators()

        class DbtVirtualenvBaseOperator(module.DbtVirtualenvBaseOperator):  # type: ignore[misc, name-defined] # as imported
            def __init__(
                self,
                py_requirements: list[str] | None = None,
                pip_install_options: list[str] | None = None,
                py_system_site_packages: bool = True,
                virtualenv_dir: object = None,
                is_virtualenv_dir_temporary: bool = False,
                **kwargs: Any,
            ) -> None: ...

        names = {**vars(module), "DbtVirtualenvBaseOperator": DbtVirtualenvBaseOperator}
        return cast("ModuleType", SimpleNamespace(**names))


class ObeysTheInvocationMode(Mutant):
    """Takes DBT_RUNNER at its word, and runs the worker's dbt."""

    kills = "API-004"

    def spoil(self, operator: Any) -> None:
        operator.invocation_mode = "dbt_runner"
