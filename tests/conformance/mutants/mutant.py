"""A mutant: the sound implementation with one fault, put in where the suite speaks to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, Concatenate, Protocol, cast

from pytest_cosmos_venv.conformance.adapter import Task, TaskOfDag
from pytest_cosmos_venv.conformance.cosmos_layout import CosmosVenvAdapter

CATALOGUE = "mutants.catalogue"
MUTANTS: dict[str, type[Mutant]] = {}
"""Name of the class -> the class, in the order in which they are defined."""


class Original(Protocol):
    """The sound function, method or class in whose place a fault is put; called with whatever that is called with."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class Mutant(CosmosVenvAdapter):
    """A class for each fault; its docstring is the fault's story, and ``kills`` the requirement that must catch it.

    The requirements that depend on that one may catch it too; no other of its area may.
    """

    import_root = "cosmos_venv"
    kills: ClassVar[str]
    needed: ClassVar[str | None] = None
    """A capability or profile: requirements without it do nothing in which the fault lies."""
    # A plain adapter's declarations, so that what is found is the fault's doing.
    differs: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "kills"):
            MUTANTS[cls.__name__] = cls

    @property
    def named(self) -> str:
        return f"{type(self).__module__}:{type(self).__qualname__}"

    def modules(self) -> Sequence[str]:
        """The modules of all mutants alike, so that their tasks fork from one process."""
        return [*super().modules(), CATALOGUE]

    def make_task(self, task: Task, **arguments: Any) -> Any:
        if isinstance(task, TaskOfDag):  # for faults in those, see ``MutantOfDags``
            return super().make_task(task, **arguments)
        operator = super().make_task(self.change(task), **arguments)
        self.spoil(operator)
        return operator

    def change(self, task: Task) -> Task:
        """Return the task that the operator is made for, where the fault lies there."""
        return task

    def spoil(self, operator: Any) -> None:
        """Put the fault into the operator."""


class OtherClass(Mutant):
    """One of its operators' classes is another; where Airflow copies an operator, the fault goes with it.

    Those that derive from a base class are the sound ones.
    """

    of_class = "DbtVirtualenvBaseOperator"

    def operators(self) -> ModuleType:
        sound = super().operators()
        base = getattr(sound, self.of_class)
        return with_names(sound, **{self.of_class: type(base)(self.of_class, (base,), self.names(base))})

    def names(self, sound: Any) -> dict[str, Any]:
        """Return what the class has beside what it inherits, or in its place."""
        raise NotImplementedError


def around(operator: Any, method: str, faulty: Callable[Concatenate[Any, Original, ...], Any]) -> None:
    """Replace a method of one operator, and of the copy of it that Airflow runs.

    :param faulty: called with the operator that it is a method of, the sound method, and what it is given.
    """
    sound: Any = type(operator)

    def replaced(self: Any, *args: Any, **kwargs: Any) -> Any:
        return faulty(self, partial(getattr(sound, method), self), *args, **kwargs)

    names = {method: replaced, "__module__": sound.__module__, "__qualname__": sound.__qualname__}
    operator.__class__ = type(sound)(sound.__name__, (sound,), names)


def with_names(module: ModuleType, **names: Any) -> ModuleType:
    """A module with other names beside its own, or with others in their place."""
    return cast("ModuleType", SimpleNamespace(**{**vars(module), **names}))
