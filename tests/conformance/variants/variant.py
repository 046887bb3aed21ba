"""A variant: the sound implementation with one thing done otherwise that no requirement forbids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pytest_cosmos_venv.conformance.cosmos_layout import CosmosVenvAdapter

from ..mutants.mutant import Mutant

CATALOGUE = "tests.conformance.variants.catalogue"
VARIANTS: dict[str, type[Variant]] = {}
"""Name of the class -> the class, in the order in which they are defined."""


class Variant(Mutant):
    """A class for each; its docstring says what it does otherwise, and ``keeps`` which requirements it keeps all the
    same.

    :cvar keeps: ids or patterns, as ``--cosmos-requirement`` takes them: those that might take it for a fault.
    """

    keeps: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "keeps"):
            VARIANTS[cls.__name__] = cls

    def modules(self) -> Sequence[str]:
        """The modules of all variants alike, so that their tasks fork from one process."""
        return [*CosmosVenvAdapter.modules(self), CATALOGUE]
