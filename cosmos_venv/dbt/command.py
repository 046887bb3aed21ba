"""The command line of one dbt invocation, and its result. Pure: options in, argument list out."""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from cosmos_venv.exceptions import CosmosValueError

Selection = str | Sequence[str | os.PathLike[str]] | None
Flag = str | os.PathLike[str] | int | float | None
"""One word of a command line: a text, a path or a number. None and a blank text give no word."""
Flags = Sequence[Flag]
CommandFlags = Flags | Mapping[str, Flags] | None
"""Flags for every dbt command, or a list for each: ``{"run": ["--threads", 4]}``."""

DBT_COMMANDS = (
    "build",
    "clone",
    "compile",
    "docs generate",
    "ls",
    "retry",
    "run",
    "run-operation",
    "seed",
    "snapshot",
    "source freshness",
    "test",
)
# Each form that dbt 1 or dbt 2 knows.
_NARROWING = frozenset(
    {
        "--select",
        "-s",
        "--models",
        "--model",
        "-m",
        "--exclude",
        "--selector",
        "--resource-type",
        "--resource-types",
        "--exclude-resource-type",
        "--exclude-resource-types",
    }
)
_DIGITS = re.compile("[0-9a-f]{12}")  # of a digest, or of a temporary folder
_FOLDER_FLAGS = frozenset({"--project-dir", "--profiles-dir", "--state", "--target-path", "--log-path"})
_LONGEST_WORD = 30_000  # letters of up to four bytes, of the 128 KiB that Linux takes for one word
_LONGEST_SELECTION = 500_000  # letters, of the 2 MB that Linux takes for all words and variables
_SELECTION = "cosmos_venv_selection"
_INDIRECT = "--indirect-selection"
_DEBUG = frozenset({"--debug", "-d", "debug", "trace"})  # the last is a level of dbt 2
_LEVELS = ("DBT_LOG_LEVEL", "DBT_ENGINE_LOG_LEVEL")
_DEBUG_VARIABLES = ("DBT_DEBUG", "DBT_ENGINE_DEBUG")
_ON = frozenset({"1", "true", "t", "yes", "y", "on"})
_SWITCHES = ("no_version_check", "cache_selected_only", "fail_fast", "quiet", "warn_error")
# In the words of click, which dbt 1 uses, and of clap, which dbt 2 uses.
# Compiled on first use: each parse for a task imports this file.
_UNKNOWN_OPTION = r"(?:No such option:? '?|error: unexpected argument ')(?P<option>--[\w-]+)"


class FullOutputSubprocessResult(NamedTuple):
    """Exit code and output of a command, in Cosmos's shape.

    :ivar exit_code: negative when a signal ended it.
    :ivar output: the last line.
    :ivar full_output: every line, stdout and stderr in the order in which they came, but at most the last 16 million
        characters.
    """

    exit_code: int
    output: str
    full_output: list[str]


NOTHING_TO_DO = FullOutputSubprocessResult(exit_code=0, output="", full_output=[])
"""The result of a command for which no dbt had to start."""


class DbtOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options that every dbt command of an operator may have, in the order of its command line.

    Each has the name of the operator's parameter.

    :param select, exclude, selector, models: dbt's selection, a text or texts (their union); None: there is none.
    :param vars: ``--vars``, by name or as a text of YAML; None: there are none.
    :param indirect_selection: ``--indirect-selection``; None: dbt decides.
    :param no_version_check, cache_selected_only, fail_fast, quiet, warn_error: dbt's flags of these names.
    :param partial_parse: False adds ``--no-partial-parse``.
    :param dbt_cmd_flags: further flags, last of the command line: words, or words by command.
    :param dbt_cmd_global_flags: flags before the sub-command, as words.
    """

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
    dbt_cmd_global_flags: Flags | None = ()


def dbt_command(executable: str, base_cmd: Sequence[str], options: DbtOptions, *, own_flags: Flags = ()) -> list[str]:
    """The command line of one invocation, without the flags of its place.

    :param executable: the first word of the command line.
    :param base_cmd: such as ``["source", "freshness"]``.
    :param options: the operator's parameters.
    :param own_flags: of this sub-command only, such as ``["--full-refresh"]``.
    :raises CosmosValueError: for flags that ``flag_texts`` refuses.
    """
    return [
        executable,
        *_without_blanks(flag_texts("dbt_cmd_global_flags", options.dbt_cmd_global_flags)),
        *([] if options.partial_parse else ["--no-partial-parse"]),
        *base_cmd,
        *_valued(options),
        *(f"--{name.replace('_', '-')}" for name in _SWITCHES if getattr(options, name)),
        *(flag for flag in flag_texts("cmd_flags", own_flags) if flag is not None),
        *flags_of_command(options.dbt_cmd_flags, base_cmd),
    ]


def _valued(options: DbtOptions) -> list[str]:
    values = {
        "--indirect-selection": options.indirect_selection,
        "--select": selection_text("select", options.select),
        "--exclude": selection_text("exclude", options.exclude),
        "--selector": selection_text("selector", options.selector),
        "--vars": vars_text(options.vars),
        "--models": selection_text("models", options.models),
    }
    return [word for flag, value in values.items() if value is not None for word in (flag, *_words(flag, value))]


def _words(flag: str, value: str) -> list[str]:
    """The value of a flag. A long selection becomes several words: dbt takes them too, and Linux limits each word."""
    is_long = flag in _NARROWING and len(value) > _LONGEST_WORD
    return value.split() if is_long else [value]


def selection_text(parameter: str, selection: Selection) -> str | None:
    """A selection as dbt takes it: names and paths joined by blanks (a union). None: no flag, as for an empty list.

    :param parameter: the name of the selection, for errors.
    :param selection: the value that was given.
    :raises CosmosValueError: for anything but a text, or a list of texts and paths.
    """
    if selection is None or isinstance(selection, str):
        return selection
    words = [os.fsdecode(word) if isinstance(word, os.PathLike) else word for word in selection]
    for word in words:
        if not isinstance(word, str):
            raise CosmosValueError(f"{parameter}={selection!r}: {word!r} is neither a text nor a path.")
    return " ".join(words) or None


def shown_command(command: Sequence[str]) -> str:
    """Return a command line for the log: one line that a shell takes, without digests and temporary folders.

    A program in a managed environment, whose path has a digest, is shown by its name. Options that name a temporary
    folder are left out.

    :param command: the words, the program first.
    """
    program, *words = command
    shown = [Path(program).name if _DIGITS.search(program) else program]
    for word in words:
        if _DIGITS.search(word) and shown[-1] in _FOLDER_FLAGS:
            shown.pop()
        else:
            shown.append(word)
    return " ".join(map(_shell_word, shown))


def _shell_word(word: str) -> str:
    if "\n" not in word and "\r" not in word:
        return shlex.quote(word)
    escapes = (("\\", r"\\"), ("'", r"\'"), ("\n", r"\n"), ("\r", r"\r"))
    return f"$'{functools.reduce(lambda text, pair: text.replace(*pair), escapes, word)}'"


def vars_text(variables: Mapping[str, Any] | str | None) -> str | None:
    """The value of ``--vars``: YAML with sorted keys, a text as it is, None where there is nothing to say.

    :param variables: a dict, or YAML text.
    :raises CosmosValueError: for a value that YAML has no words for, such as a path.
    """
    if variables is None or isinstance(variables, str):
        return variables
    try:
        return yaml.safe_dump(dict(variables), allow_unicode=True)
    except yaml.representer.RepresenterError as error:
        value = error.args[-1]
        raise CosmosValueError(
            f"vars: {value!r} is a {type(value).__name__}, which cannot be handed to dbt. Give texts, numbers, "
            f"booleans, dates, lists and dicts of them: {str(value)!r}."
        ) from error


def narrowing_flags(words: Sequence[str]) -> list[str]:
    """The flags that select or leave out nodes, as the words have them.

    :param words: of a command line.
    """
    return [word for word in words if word.partition("=")[0] in _NARROWING]


def selection_in_file(words: list[str]) -> tuple[list[str], str]:
    """The words with ``--selector`` in place of a selection that is too long for a command line.

    :param words: of a command line.
    :returns: the words, and the content of a ``selectors.yml``. The words are unchanged, and the content is empty, when
        the selection is short, or when a selector would mean something else. dbt takes no ``--exclude`` beside a
        selector. With ``cautious`` and ``buildable``, a selector's names choose tests one by one, not together.
    """
    indirect = words[words.index(_INDIRECT) + 1] if _INDIRECT in words else "eager"
    is_long = sum(map(len, words)) > _LONGEST_SELECTION
    if not is_long or narrowing_flags(words) != ["--select"] or indirect not in ("eager", "empty"):
        return words, ""
    begin = words.index("--select")
    end = next((place for place in range(begin + 1, len(words)) if words[place].startswith("-")), len(words))
    names = [name for word in words[begin + 1 : end] for name in word.split()]
    union = [name if "," not in name else {"intersection": name.split(",")} for name in names]
    definition = {"selectors": [{"name": _SELECTION, "definition": {"union": union}}]}
    content = msgspec.json.encode(definition).decode()  # JSON is YAML
    return [*words[:begin], "--selector", _SELECTION, *words[end:]], content


def refuse_narrowing(found: Sequence[str]) -> None:
    """Refuse flags that leave nodes out of a build of several nodes: a node without a report has failed.

    :param found: the flags that were found, with the place where they stand.
    :raises CosmosValueError: when it is not empty.
    """
    if found:
        raise CosmosValueError(
            f"{', '.join(found)} would leave out nodes that are given to one dbt build by name. Choose nodes with "
            "RenderConfig.select and RenderConfig.exclude."
        )


def without_flag(words: Sequence[str], flag: str) -> list[str]:
    """The words without a flag that has one value, in both of its forms.

    :param words: of a command line.
    :param flag: such as ``--log-format``.
    """
    kept: list[str] = []
    is_value = False
    for word in words:
        if is_value or word.startswith(f"{flag}="):
            is_value = False
        elif word == flag:
            is_value = True
        else:
            kept.append(word)
    return kept


def asks_for_debug(words: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether a command asks for events of level debug. Settings in dbt_project.yml or the profile do not count.

    A word such as the name ``debug`` of a model counts too: then the log has more lines.

    :param words: the command line.
    :param env: the environment variables of dbt.
    """
    levels = {word.lower().removeprefix("--log-level=") for word in [*words, *(env.get(name, "") for name in _LEVELS)]}
    return not levels.isdisjoint(_DEBUG) or any(env.get(name, "").lower() in _ON for name in _DEBUG_VARIABLES)


def vars_flags(variables: Mapping[str, Any] | str | None) -> list[str]:
    """The flag ``--vars`` for a command that has no other options of ours, such as ``dbt deps``.

    :param variables: a dict, or YAML text; None: no flag.
    """
    text = vars_text(variables)
    return [] if text is None else ["--vars", text]


def flags_of_command(flags: CommandFlags, base_cmd: Sequence[str]) -> list[str]:
    """The flags that this command gets, as texts.

    :param flags: for every dbt command, or a list for each.
    :param base_cmd: such as ``["source", "freshness"]``.
    :raises CosmosValueError: as ``command_flag_texts``.
    """
    texts = command_flag_texts("dbt_cmd_flags", flags)
    if isinstance(texts, Mapping):
        texts = next((own for name, own in texts.items() if list(base_cmd[: len(name.split())]) == name.split()), [])
    return _without_blanks(texts)


def command_flag_texts(parameter: str, flags: CommandFlags) -> list[str | None] | dict[str, list[str | None]]:
    """The flags with a text for each path and number.

    :param parameter: the name of the flags, for errors.
    :param flags: for every dbt command, or a list for each.
    :raises CosmosValueError: for anything but a list of texts, paths and numbers, or a dict of such lists by command.
    """
    if not isinstance(flags, Mapping):
        return flag_texts(parameter, flags)
    for name in flags:
        if name not in DBT_COMMANDS:
            raise CosmosValueError(f"{parameter} names the command {name!r}. It can be {', '.join(DBT_COMMANDS)}.")
    return {name: flag_texts(f"{parameter}[{name!r}]", own) for name, own in flags.items()}


def flag_texts(parameter: str, flags: Flags | None) -> list[str | None]:
    """The flags of one list with a text for each path and number; an empty list for None.

    :param parameter: the name of the list, for errors.
    :param flags: the list.
    :raises CosmosValueError: for anything but a list of texts, paths and numbers.
    """
    if flags is not None and (isinstance(flags, str) or not isinstance(flags, Sequence)):
        raise CosmosValueError(f"{parameter}={flags!r} must be a list of texts, such as ['--threads', '4'].")
    texts = [word_text(flag) for flag in flags or ()]
    for flag in texts:
        if flag is not None and not isinstance(flag, str):
            raise CosmosValueError(
                f"{parameter}={flags!r}: {flag!r} is neither a text nor a path nor a number. Write {str(flag)!r}."
            )
    return texts


def word_text(word: Any) -> Any:
    """The text of a path or a number as a word of a command line; anything else as it is, a boolean too.

    :param word: the value that was given.
    """
    if isinstance(word, os.PathLike):
        return os.fsdecode(word)
    return str(word) if isinstance(word, int | float) and not isinstance(word, bool) else word


def advice_about_option(lines: Sequence[str]) -> str:
    """A sentence about an option that this dbt does not know, and its possible origin; empty if dbt knows all options.

    :param lines: everything that dbt wrote.
    """
    unknown = next((match["option"] for line in lines if (match := re.search(_UNKNOWN_OPTION, line))), None)
    if unknown is None:
        return ""
    return (
        f"This dbt has no option {unknown}. It may come from the parameter of that name, dbt_cmd_flags or "
        "dbt_cmd_global_flags."
    )


def _without_blanks(flags: Sequence[str | None]) -> list[str]:
    return [flag for flag in flags if flag and flag.strip()]
