"""Which command line does one dbt invocation have? Pure: options in, argument list out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from cosmos_venv.exceptions import CosmosValueError

Selection = str | Sequence[str] | None
CommandFlags = Sequence[str] | Mapping[str, Sequence[str]] | None
"""Flags for every dbt command, or a list for each: ``{"run": ["--threads", "4"]}``."""

DBT_COMMANDS = (
    *("build", "clone", "compile", "docs generate", "ls", "run", "run-operation", "seed", "snapshot"),
    *("source freshness", "test"),
)


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
    dbt_cmd_flags: CommandFlags = ()
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
        *flags_of_command(options.dbt_cmd_flags, base_cmd),
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


def flags_of_command(flags: CommandFlags, base_cmd: Sequence[str]) -> list[str]:
    """Those of the flags that this command gets.

    :param base_cmd: such as ``["source", "freshness"]``.
    :raises CosmosValueError: for anything but a list of texts, or a dict of such lists by dbt command.
    """
    refuse_wrong_flags("dbt_cmd_flags", flags)
    if isinstance(flags, Mapping):
        flags = next((own for name, own in flags.items() if list(base_cmd[: len(name.split())]) == name.split()), ())
    return _without_blanks(flags or ())


def refuse_wrong_flags(parameter: str, flags: object) -> None:
    """Looks at the shape, and at the names of commands.

    :raises CosmosValueError: for anything but a list of texts, or a dict of such lists by dbt command.
    """
    for name, own in flags.items() if isinstance(flags, Mapping) else ():
        if name not in DBT_COMMANDS:
            import difflib

            near = difflib.get_close_matches(str(name), DBT_COMMANDS, n=1, cutoff=0.4)
            advice = f"Did you mean {near[0]!r}?" if near else "Drop it."
            raise CosmosValueError(f"{parameter} names the command {name!r}; {advice} (of {', '.join(DBT_COMMANDS)})")
        _refuse_no_list(f"{parameter}[{name!r}]", own)
    if not isinstance(flags, Mapping):
        _refuse_no_list(parameter, flags)


def _refuse_no_list(parameter: str, flags: object) -> None:
    if flags is not None and (isinstance(flags, str) or not isinstance(flags, Sequence)):
        raise CosmosValueError(f"{parameter}={flags!r} must be a list of texts, such as ['--threads', '4'].")
    for flag in flags or ():
        if flag is not None and not isinstance(flag, str):
            raise CosmosValueError(f"{parameter}={flags!r}: {flag!r} is no text. Write {str(flag)!r}.")


def _without_blanks(flags: Sequence[str]) -> list[str]:
    return [flag for flag in flags if flag and flag.strip()]
