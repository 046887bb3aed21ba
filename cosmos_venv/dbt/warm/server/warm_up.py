"""STDLIB ONLY. The imports and compilations of a server before its first command, and the variables that they read.

mashumaro generates code on the first call, which reads and writes dbt's classes, and JSON schemas check the classes.
The code and the schemas take half of the time of a small command. Both depend only on the classes, so they are the same
in each process.
Nothing of a project, a profile or an adapter is made here. The only method of dbt that is called is ``json_schema``,
which caches its result.

dbt calls ``json.dump``, which never uses Python's C encoder: it makes and writes each bracket and comma by itself. This
takes half a second in a project of a thousand models, whose ``manifest.json`` is written twice. ``patch_json_encoder``
makes the same text at once, as ``json.dumps`` does (CPython, ``Lib/json/encoder.py``: ``_one_shot``). This needs
additional memory of the size of the text.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

Step = Callable[[], object]

# With these every command checks its project, its profile, its selectors. A release may lack one of them.
_CHECKED = {
    "dbt.contracts.project": ("Project", "Configuration", "PackageConfig", "ProfileConfig", "ProjectFlags"),
    "dbt.contracts.selection": ("SelectorFile",),
    "dbt.task.test": ("TestResultData",),
}
_CREDENTIALS = ("dbt.adapters.contracts.connection", "Credentials")
# dbt keeps only the parse file as MessagePack. The classes of its content are compiled with this class.
_PACKED = "Manifest"


def steps() -> Iterator[Step]:
    """Pieces of work of some milliseconds each, so that a command need not wait for more than one."""
    yield _look_at_modules
    for cls in _serialized():
        yield from _compilations(cls)
    yield from (cls.json_schema for cls in _checked() if hasattr(cls, "json_schema"))


def run_step(step: Step) -> None:
    """Run one step. When a step fails, the command does the work itself, and reports what is wrong.

    :param step: one of ``steps``.
    """
    with suppress(Exception):  # whatever another release of these packages raises
        step()


def patch_json_encoder() -> None:
    """Let dbt's JSON encoder make each text at once from now on, if it is the encoder that we know."""
    encoder: Any = getattr(sys.modules.get("dbt_common.utils.encoding"), "JSONEncoder", None)
    if getattr(encoder, "iterencode", None) is json.JSONEncoder.iterencode:
        encoder.iterencode = _in_one_piece


def _in_one_piece(self: json.JSONEncoder, o: Any, _one_shot: bool = False) -> Iterator[str]:
    return json.JSONEncoder.iterencode(self, o, _one_shot=True)


def _look_at_modules() -> None:
    """Fill a cache of ``inspect``: dbt looks up its caller, and inspect then reads the file of every module, once."""
    inspect.getmodule(sys._getframe())


def _serialized() -> Iterator[Any]:
    """The classes that are compiled at their first use."""
    mixin = getattr(sys.modules.get("mashumaro.mixins.dict"), "DataClassDictMixin", None)
    for cls in _below(mixin) if mixin is not None else ():
        if getattr(getattr(cls, "Config", None), "lazy_compilation", False):
            yield cls


def _below(cls: Any) -> list[Any]:
    found: dict[Any, None] = {}
    waiting = [cls]
    while waiting:
        for each in waiting.pop().__subclasses__():
            if each not in found:
                found[each] = None
                waiting.append(each)
    return list(found)


def _compilations(cls: Any) -> Iterator[Step]:
    # mashumaro leaves the options for its builder in each class that a method is generated for.
    for ancestor in cls.__mro__[-1:0:-1]:
        params = getattr(ancestor, f"_{ancestor.__name__}__mashumaro_builder_params", None) or {}
        for kind, method in (("unpacker", "add_unpack_method"), ("packer", "add_pack_method")):
            options = dict(params.get(kind, {}))
            if params and (options.get("format_name") is None or cls.__name__ == _PACKED):
                yield partial(_compile, cls, method, options)


def _compile(cls: Any, method: str, options: dict[str, Any]) -> None:
    """Generate a method, as mashumaro's placeholder in the class would do on its first call."""
    builder = sys.modules["mashumaro.core.meta.code.builder"].CodeBuilder
    options["default_dialect"] = options.pop("dialect", None)
    getattr(builder(cls, allow_postponed_evaluation=False, **options), method)()


def _checked() -> Iterator[Any]:
    for name, classes in _CHECKED.items():
        if name in sys.modules:
            yield from (getattr(sys.modules[name], each, None) for each in classes)
    credentials = getattr(sys.modules.get(_CREDENTIALS[0]), _CREDENTIALS[1], None)
    if credentials is not None:
        yield from _below(credentials)


def import_all(modules: Mapping[str, bool], packages: list[str]) -> None:
    """Import modules, and the sub-packages of some packages.

    :param modules: by name, whether it must be there.
    :param packages: names of imported packages. Their sub-packages are imported, as far as they can be.
    :raises BaseException: whatever a required module raises.
    """
    for name, is_required in modules.items():
        _import(name, is_required=is_required)
    for name in packages:
        parent = sys.modules.get(name)
        for found in pkgutil.iter_modules(getattr(parent, "__path__", ())):
            # An adapter is a sub-package. A plain module is imported by the packages that need it.
            if found.ispkg:
                _import(f"{name}.{found.name}", is_required=False)


def _import(name: str, *, is_required: bool) -> None:
    try:
        importlib.import_module(name)
    except Exception:
        if is_required:
            raise


@contextmanager
def variables_read() -> Iterator[dict[str, str | None]]:
    """Record the environment variables that are read within this block, each with its value at that time."""
    kind: Any = type(os.environ)
    looked_at: dict[str, str | None] = {}
    before = kind.__getitem__

    def recording(self: Any, name: Any) -> Any:
        try:
            value = before(self, name)
        except KeyError:
            looked_at[os.fsdecode(name)] = None
            raise
        looked_at[os.fsdecode(name)] = os.fsdecode(value)
        return value

    # In the class: Python looks up special methods nowhere else. get, getenv and "in" call it too.
    kind.__getitem__ = recording
    try:
        yield looked_at
    finally:
        kind.__getitem__ = before
