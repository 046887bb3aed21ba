"""Which command line does one dbt invocation have? Pure: options in, argument list out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

Selection = str | Sequence[str] | None


@dataclass(frozen=True, kw_only=True)
class DbtOptions:
    """The options that every dbt command of an operator may have, in the order of its command line."""

    select: Selection = None
    exclude: Selection = None
    selector: Selection = None
    vars: Mapping[str, Any] | str | None = None
    models: Selection = None
    indirect_selection: str | None = None
    no_version_check: bool = False
    cache_selected_only: bool = False
    fail_fast: bool = False
    quiet: bool = False
    warn_error: bool = False
    partial_parse: bool = True
    dbt_cmd_flags: Sequence[str] = ()
    dbt_cmd_global_flags: Sequence[str] = ()


def dbt_command(
    executable: str, base_cmd: Sequence[str], options: DbtOptions, *, own_flags: Sequence[str] = ()
) -> list[str]:
    """The command line of one invocation, without the flags of its place.

    :param base_cmd: such as ``["source", "freshness"]``.
    :param own_flags: of this sub-command only, such as ``["--full-refresh"]``.
    """
    return [
        executable,
        *_without_blanks(options.dbt_cmd_global_flags),
        *([] if options.partial_parse else ["--no-partial-parse"]),
        *base_cmd,
        *_valued(options),
        *_switches(options),
        *own_flags,
        *_without_blanks(options.dbt_cmd_flags),
    ]


def _valued(options: DbtOptions) -> list[str]:
    values = {
        "--indirect-selection": options.indirect_selection,
        "--select": selection_text(options.select),
        "--exclude": selection_text(options.exclude),
        "--selector": selection_text(options.selector),
        "--vars": vars_text(options.vars),
        "--models": selection_text(options.models),
    }
    return [word for flag, value in values.items() if value is not None for word in (flag, value)]


def _switches(options: DbtOptions) -> list[str]:
    names = ("no_version_check", "cache_selected_only", "fail_fast", "quiet", "warn_error")
    return [f"--{name.replace('_', '-')}" for name in names if getattr(options, name)]


def selection_text(selection: Selection) -> str | None:
    """As dbt takes it: names joined by blanks (a union). None: no flag, as for an empty list."""
    if selection is None or isinstance(selection, str):
        return selection
    return " ".join(selection) or None


def vars_text(variables: Mapping[str, Any] | str | None) -> str | None:
    """The value of ``--vars``: YAML with sorted keys, a text as it is, None where there is nothing to say."""
    if variables is None or isinstance(variables, str):
        return variables
    return yaml.safe_dump(dict(variables), allow_unicode=True)


def vars_flags(variables: Mapping[str, Any] | str | None) -> list[str]:
    """The flag ``--vars`` for a command that has no other options of ours, such as ``dbt deps``."""
    text = vars_text(variables)
    return [] if text is None else ["--vars", text]


def _without_blanks(flags: Sequence[str]) -> list[str]:
    return [flag for flag in flags if flag and flag.strip()]
