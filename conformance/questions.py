"""What is asked about an implementation in a process that has it imported? Each answer is plain data.

A function here takes the adapter first; ``Bench.ask`` names it.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from .adapter import OPERATOR_CLASSES, Adapter, Rendering, Shape, Task


def operator_classes(adapter: Adapter) -> dict[str, dict[str, Any]]:
    """Of each of the ten: names of all its ancestors with their modules, and its template fields."""
    found = {}
    for name in (*OPERATOR_CLASSES.values(), "DbtVirtualenvBaseOperator"):
        cls = getattr(adapter.operators(), name, None)
        if cls is not None:
            found[name] = {
                "ancestors": [f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__],
                "template_fields": list(cls.template_fields),
            }
    return found


def base_signature(adapter: Adapter) -> dict[str, Any]:
    """Parameters of the base class that have a default, in their order."""
    parameters = inspect.signature(adapter.operators().DbtVirtualenvBaseOperator.__init__).parameters
    empty = inspect.Parameter.empty
    return {name: each.default for name, each in parameters.items() if each.default is not empty}


def attribute(adapter: Adapter, module: str, name: str) -> Any:
    """A module's attribute, which is plain data.

    :param module: below the import root.
    """
    return getattr(import_module(f"{adapter.import_root}.{module}"), name)


def attributes_of(adapter: Adapter, task: Task, names: list[str]) -> dict[str, str]:
    """What an operator has under these names after it was constructed, as text."""
    operator = adapter.make_task(task)
    return {name: str(getattr(operator, name)) for name in names}


def unfulfilled_seed_stories(adapter: Adapter, **arguments: Any) -> dict[str, str]:
    """As ``seed_stories.play``."""
    from .seed_stories import play

    return play(adapter, **arguments)


def memory_for_a_large_seed(adapter: Adapter, **arguments: Any) -> int | str:
    """As ``seed_stories.measure_large``."""
    from .seed_stories import measure_large

    return measure_large(adapter, **arguments)


def enum_members(adapter: Adapter, name: str) -> dict[str, str] | None:
    """Name -> value of an enum of its ``constants``, aliases too; None where there is none of that name."""
    enum = getattr(import_module(f"{adapter.import_root}.constants"), name, None)
    return None if enum is None else {name: str(member.value) for name, member in enum.__members__.items()}


def render(adapter: Adapter, rendering: Rendering) -> Shape:
    """What becomes of a dbt project in a DAG."""
    return adapter.render(rendering)
