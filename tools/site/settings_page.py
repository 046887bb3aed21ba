"""The settings of the reference, from the table in the code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cosmos_venv.settings import COSMOS_SECTION, SECTION
from cosmos_venv.settings.table import SETTINGS, Setting
from tools.site.undocumented import refuse

_TYPES = {bool: "boolean", int: "whole number", float: "number", str: "text"}


def settings_text(settings: Mapping[str, Setting] = SETTINGS) -> str:
    """Return a section for each setting, by name.

    :raises Undocumented: a setting has no meaning.
    """
    refuse([f"the setting {name} has no meaning" for name, each in settings.items() if not each.meaning.strip()])
    return "\n".join(line for name in sorted(settings) for line in _section(name, settings[name]))


def settings_table(*names: str) -> str:
    """Return a table of some settings, with links to their sections.

    :param names: of the settings, in this order.
    :raises Undocumented: there is no such setting.
    """
    refuse([f"there is no setting {name}" for name in names if name not in SETTINGS])
    lines = ["| setting in `[cosmos_venv]` | default | meaning |", "|---|---|---|"]
    for name in names:
        setting = SETTINGS[name]
        lines.append(f"| [`{name}`](/reference/settings.md#{name}) | {_default(setting)} | {setting.meaning} |")
    return "\n".join(lines)


def variable(section: str, name: str) -> str:
    """Return the environment variable of a setting, as Airflow names it."""
    return f"AIRFLOW__{section.upper()}__{name.upper()}"


def _section(name: str, setting: Setting) -> Iterator[str]:
    yield from (f"## `{name}`", "", setting.meaning, "")
    yield f"- Type: {_TYPES[type(setting.default)]}"
    yield f"- Default: {_default(setting)}"
    if setting.choices:
        yield f"- Values: {', '.join(f'`{each}`' for each in setting.choices)}"
    if setting.least is not None:
        yield f"- Smallest value: {setting.least}"
    yield f"- Environment variable: `{variable(SECTION, name)}`"
    if setting.is_also_cosmos:
        yield f"- Also read from `[{COSMOS_SECTION}]`: `{variable(COSMOS_SECTION, name)}`"
    if setting.older_name:
        yield f"- Older name, still read: `{setting.older_name}`"
    yield ""


def _default(setting: Setting) -> str:
    return f"`{setting.default}`" if setting.default != "" else "empty"
