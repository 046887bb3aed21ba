"""dbt's commands and options: its own tables, of the versions that the fake was verified against.

A test compares them with each of these dbts.
"""

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
# Each exists as --name and as --no-name, before and after the command.
SWITCHES = frozenset(
    """
    cache-selected-only debug defer fail-fast favor-state log-cache-events macro-debugging partial-parse
    partial-parse-file-diff populate-cache print quiet send-anonymous-usage-stats show-all-deprecations
    single-threaded static-parser upload-to-artifacts-ingest-api use-colors use-colors-file use-experimental-parser
    use-fast-test-edges version-check write-json
    """.split()
)
EVERYWHERE = frozenset(
    """
    --defer-state --deprecated-defer --deprecated-favor-state --deprecated-no-print --deprecated-print
    --deprecated-state --help --indirect-selection --log-file-max-bytes --log-format --log-format-file --log-level
    --log-level-file --log-path --partial-parse-file-path --printer-width --profile --record-timing-info -r --state
    --target -t --version -V -v --warn-error --warn-error-options -d -h -q -x
    """.split()
).union(*({"--" + name, "--no-" + name} for name in SWITCHES))
BEFORE_THE_COMMAND = EVERYWHERE | {"--show-resource-report", "--no-show-resource-report"}

_PLACE = "--profiles-dir --project-dir --vars "
_TARGET = _PLACE + "--target-path "
_THREADS = _TARGET + "--threads "
_SELECT = "--exclude --model --models --select --selector -m -s "
_NODES = _THREADS + _SELECT
_TYPES = "--resource-type --resource-types --exclude-resource-type --exclude-resource-types "
_REFRESH = "--full-refresh -f "
_EMPTY = "--empty --no-empty "
_TIMES = "--event-time-start --event-time-end --sample "
_INTROSPECT = "--introspect --no-introspect "
_FRESHNESS = _NODES + "--output -o --sqlparse"
_LIST = _TARGET + _SELECT + _TYPES + "--output --output-keys"

_OPTIONS: dict[str, str] = {
    "build": _NODES
    + _TYPES
    + _REFRESH
    + _EMPTY
    + _TIMES
    + "--export-saved-queries --no-export-saved-queries --include-saved-query --no-include-saved-query"
    " --show --sqlparse --store-failures",
    "clean": _TARGET + "--clean-project-files-only --no-clean-project-files-only",
    "clone": _NODES + _TYPES + _REFRESH,
    "compile": _NODES
    + _REFRESH
    + _EMPTY
    + _INTROSPECT
    + "--inject-ephemeral-ctes --no-inject-ephemeral-ctes --inline --output --sqlparse",
    "debug": _PLACE + "--config-dir --connection",
    "deps": _PLACE + "--add-package --lock --source --upgrade",
    "docs generate": _NODES + "--compile --no-compile --empty-catalog --static --sqlparse",
    "docs serve": _TARGET + "--browser --no-browser --host --port",
    "init": _PLACE + "--skip-profile-setup -s",
    "list": _LIST,
    "ls": _LIST,
    "parse": _THREADS,
    "retry": _THREADS + _REFRESH,
    "run": _NODES + _REFRESH + _EMPTY + _TIMES + "--sqlparse",
    "run-operation": _THREADS + "--args",
    "seed": _NODES + _REFRESH + "--show --sqlparse",
    "show": _NODES + _REFRESH + _INTROSPECT + "--inline --inline-direct --limit --output --sqlparse",
    "snapshot": _NODES + _EMPTY + "--sqlparse",
    "source freshness": _FRESHNESS,
    "source snapshot-freshness": _FRESHNESS,
    "test": _NODES + _TYPES + "--store-failures --sqlparse",
}
_SINCE = {"--sqlparse": (1, 11)}
# Commands that take words that are no options, and how many.
ARGUMENTS = {"init": 1, "run-operation": 1}

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


def options_of(command: str, dbt_version: str) -> frozenset[str]:
    """Return every option that may follow a command in a version of dbt.

    :param command: the command, such as ``run`` or ``docs generate``.
    :param dbt_version: the version, such as ``1.10.0``.
    """
    major, minor = dbt_version.split(".")[:2]
    mine = (word for word in _OPTIONS[command].split() if (int(major), int(minor)) >= _SINCE.get(word, (0, 0)))
    return EVERYWHERE.union(mine)
