"""The functions of a race: their checks, and the names by which another process finds them."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse, require_count
from pytest_cosmos_venv.races.contender import ModuleAt

Function = Callable[..., Any]


def functions_of(given: Function | Sequence[Function], contenders: int | None) -> tuple[Function, ...]:
    """Return one function for each contender.

    :param given: a function for all of them, or one for each.
    :param contenders: number of contenders; None: 2, or one for each function.
    :raises ToolkitMisuse: there is no function, or the number does not fit.
    """
    several: list[Any] = list(given) if isinstance(given, (list, tuple)) else [given]
    if callable(given):
        count = 2 if contenders is None else contenders
        require_count(count, "contenders")
        return (given,) * count
    if not several:
        raise ToolkitMisuse("No function was given: cosmos_race(function, ...), or a list of them.")
    if contenders not in {None, len(several)}:
        raise ToolkitMisuse(
            f"contenders={contenders} for {len(several)} functions: leave it out, each is one contender."
        )
    return tuple(several)


def module_of(function: Function) -> ModuleAt:
    """Return the module in which another process finds a function.

    :param function: the function, or a ``functools.partial`` of it.
    :raises ToolkitMisuse: the function is defined inside another function.
    """
    plain = getattr(function, "func", function)  # of a functools.partial
    name = getattr(plain, "__qualname__", type(plain).__qualname__)
    if "<" in name:  # <locals>, <lambda>
        raise ToolkitMisuse(
            f"{name} is made inside a function, and a contender, which has a process of its own, finds its function by "
            "name only. Move it to the top of the file, and hand what it took from the test as arguments: "
            "cosmos_race(function, tmp_path)."
        )
    module = getattr(plain, "__module__", type(plain).__module__)
    return ModuleAt(name=module, file=getattr(sys.modules.get(module), "__file__", None))


def pickled_work(functions: Sequence[Function], arguments: Sequence[object]) -> bytes:
    """Return functions and arguments as one pickle.

    :param functions: one for each contender.
    :param arguments: the same for all contenders.
    :raises ToolkitMisuse: one of them cannot be pickled.
    """
    for each in (*arguments, *functions):
        try:
            pickle.dumps(each)
        except Exception as error:  # noqa: BLE001 - pickling raises whatever the object does
            raise ToolkitMisuse(
                f"cosmos_race: {each!r} cannot be handed to another process ({error}). Hand plain data, and make the "
                "object inside the function."
            ) from None
    return pickle.dumps((tuple(functions), tuple(arguments)))
