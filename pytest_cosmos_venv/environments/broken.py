"""How can a wheel be wrong? Each breakage of a sound one, by its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from pytest_cosmos_venv.environments.wheel import Wheel, wheel_bytes
from pytest_cosmos_venv.errors import ToolkitMisuse

PINNED_TWICE = "cosmos-pinned-twice"
"""The package on whose version a wheel with conflicting pins cannot agree with itself."""

_UNIMPORTABLE = 'raise ImportError("this look-alike of {name} was made to fail when it is imported")\n'
# Other distributions put their folders below these.
_SHARED = frozenset({"dbt/__init__.py", "dbt/cli/__init__.py", "dbt/adapters/__init__.py"})


def broken_wheel(wheel: Wheel, breakage: str) -> bytes:
    """The file of ``wheel``, broken.

    :param breakage: a key of ``BREAKAGES``.
    :raises ToolkitMisuse: when there is no such breakage.
    """
    if breakage not in BREAKAGES:
        raise ToolkitMisuse(f"breakage={breakage!r} is unknown: take one of {', '.join(BREAKAGES)}.")
    return BREAKAGES[breakage](wheel)


def _no_console_script(wheel: Wheel) -> bytes:
    return wheel_bytes(replace(wheel, console_scripts={}))


def _import_error(wheel: Wheel) -> bytes:
    text = _UNIMPORTABLE.format(name=wheel.name)
    return wheel_bytes(replace(wheel, files={**wheel.files, **dict.fromkeys(wheel.files.keys() - _SHARED, text)}))


def _conflicting_pins(wheel: Wheel) -> bytes:
    return wheel_bytes(replace(wheel, requires=(*wheel.requires, f"{PINNED_TWICE}==1.0", f"{PINNED_TWICE}==2.0")))


def _truncated(wheel: Wheel) -> bytes:
    content = wheel_bytes(wheel)
    return content[: len(content) // 2]


def _wrong_record(wheel: Wheel) -> bytes:
    _, record = wheel.record
    return wheel_bytes(wheel, record=re.sub(r"(?<=,sha256=)[^,]+", "A" * 43, record))


BREAKAGES: dict[str, Callable[[Wheel], bytes]] = {
    "no-console-script": _no_console_script,
    "import-error": _import_error,
    "conflicting-pins": _conflicting_pins,
    "truncated": _truncated,
    "wrong-record": _wrong_record,
}
