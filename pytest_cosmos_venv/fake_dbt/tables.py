"""dbt's commands, and the values of its options, as tables. A test compares them with each verified dbt."""

from __future__ import annotations

COMMANDS = frozenset(
    """
    build clean clone compile debug deps init list ls parse retry run run-operation seed show snapshot test
    """.split()
)
COMMAND_GROUPS = {
    "docs": frozenset({"generate", "serve"}),
    "source": frozenset({"freshness", "snapshot-freshness"}),
}

# Options that take one value, and options that take words up to the next option; every other option is a flag.
ONE_VALUE = frozenset(
    """
    --add-package --args --defer-state --deprecated-defer --deprecated-favor-state --deprecated-state
    --event-time-end --event-time-start --host --indirect-selection --inline --inline-direct --limit
    --log-file-max-bytes --log-format --log-format-file --log-level --log-level-file --log-path --output -o
    --partial-parse-file-path --port --printer-width --profile --profiles-dir --project-dir --record-timing-info -r
    --sample --selector --source --sqlparse --state --target -t --target-path --threads --vars --warn-error-options
    """.split()
)
MANY_VALUES = frozenset(
    """
    --exclude --exclude-resource-type --exclude-resource-types --model --models -m --output-keys
    --resource-type --resource-types --select -s
    """.split()
)

_LEVELS = ("debug", "info", "warn", "error", "none")
_FORMATS = ("text", "debug", "json", "default")
CHOICES: dict[str, tuple[str, ...]] = {
    "--indirect-selection": ("eager", "cautious", "buildable", "empty"),
    "--log-format": _FORMATS,
    "--log-format-file": _FORMATS,
    "--log-level": _LEVELS,
    "--log-level-file": _LEVELS,
    "--source": ("hub", "git", "local"),
}
INTEGERS = frozenset({"--limit", "--log-file-max-bytes", "--port", "--printer-width", "--threads"})
