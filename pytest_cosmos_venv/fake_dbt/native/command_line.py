"""The command line of dbt 2: its commands, options and values, and its exit codes for a refusal.

A test compares each of them with the real dbt 2.
"""

from __future__ import annotations

from ..command_line import Invocation, UsageError

COMMANDS = frozenset(
    """
    build clean clone compile debug deps docs init list login ls man parse retry run run-operation seed show snapshot
    test
    """.split()
)
COMMAND_GROUPS = {"docs": frozenset({"generate", "serve"}), "source": frozenset({"freshness"})}

# Options before or after any command. Some stand in no help; dbt 2 still takes them because dbt 1 did.
EVERYWHERE = frozenset(
    """
    --cache-selected-only --compute --debug --defer --defer-state --dirty --empty --event-time-end
    --event-time-start --exclude --export-saved-queries --fail-fast --favor-state --help --index-dir
    --indirect-selection --introspect --invocation-id --log-cache-events --log-file-max-bytes --log-format
    --log-format-file --log-level --log-level-file --log-path --macro-debugging --manage-state
    --maximum-seed-size-mib --metadata-dir --models --no-cache-selected-only --no-debug --no-defer --no-empty
    --no-fail-fast --no-favor-state --no-introspect --no-log-cache-events --no-macro-debugging --no-manage-state
    --no-partial-parse --no-partial-parse-file-diff --no-populate-cache --no-print --no-quiet
    --no-send-anonymous-usage-stats --no-static-parser --no-use-colors --no-use-colors-file
    --no-use-experimental-parser --no-use-fast-test-edges --no-version-check --no-write-json --otel-file-name
    --otel-parquet-file-name --packages-install-path --parent-span-id --partial-parse --partial-parse-file-diff
    --partial-parse-file-path --populate-cache --print --printer-width --profile --profiles-dir --project-dir
    --quiet --record-timing-info --select --selector --send-anonymous-usage-stats --show-all-deprecations --state
    --static-parser --store-failures --target --target-path --threads --use-colors --use-colors-file
    --use-experimental-parser --use-fast-test-edges --use-v2-compatible-package-downloads --vars --version-check
    --warn-error --warn-error-options --write-catalog --write-index --write-json --write-lineage --write-metadata -d
    -h -m -q -r -s -t -x
    """.split()
)
_SERVER = "--host --port --show "
_TYPES = "--resource-type --resource-types --exclude-resource-type --exclude-resource-types "
_ROWS = "--limit --output --sampled --static-analysis --with-sample "
_CACHE = "--force-node-selection --run-cache-mode --static-analysis "
_REFRESH = "--full-refresh -f "
_LIST = _SERVER + _TYPES + "--limit --output --output-keys"

_OPTIONS: dict[str, str] = {
    "build": _SERVER + _ROWS + _CACHE + _REFRESH + _TYPES + "--sample",
    "clean": _SERVER,
    "clone": _SERVER + _REFRESH,
    "compile": _SERVER + _ROWS + _REFRESH + _TYPES + "--inline",
    "debug": _SERVER + "--connection",
    "deps": _SERVER + "--add-package --lock --upgrade",
    "docs": _SERVER,
    "docs generate": "",
    "docs serve": "--host --no-open --port",
    "init": _SERVER + "--fusion-upgrade --project-name --sample --skip-profile-setup",
    "list": _LIST,
    "login": _SERVER,
    "ls": _LIST,
    "man": _SERVER + "--pre-schema --schema",
    "parse": _SERVER,
    "retry": _SERVER + "--static-analysis",
    "run": _SERVER + _ROWS + _CACHE + _REFRESH + "--sample",
    "run-operation": _SERVER + "--args --sql",
    "seed": _SERVER + _CACHE + _REFRESH,
    "show": _SERVER + _ROWS + _TYPES + "--inline --unchecked",
    "snapshot": _SERVER + _CACHE,
    "source": "",
    "source freshness": _SERVER + "--check-all",
    "test": _SERVER + _ROWS + _CACHE,
}
ONE_VALUE = frozenset(
    """
    --add-package --args --compute --defer-state --event-time-end --event-time-start --host --index-dir
    --indirect-selection --inline --invocation-id --limit --log-file-max-bytes --log-format --log-format-file
    --log-level --log-level-file --log-path --maximum-seed-size-mib --metadata-dir --otel-file-name
    --otel-parquet-file-name --output --packages-install-path --parent-span-id --partial-parse-file-path --port
    --printer-width --profile --profiles-dir --project-dir --project-name --record-timing-info -r --run-cache-mode
    --sample --selector --sql --state --static-analysis --target -t --target-path --threads --vars
    --warn-error-options --with-sample
    """.split()
)
MANY_VALUES = frozenset(
    """
    --exclude --exclude-resource-type --exclude-resource-types --models -m --output-keys --pre-schema --resource-type
    --resource-types --sampled --schema --select -s --show
    """.split()
)
_LONG = {
    "--models": "--select",
    "--resource-types": "--resource-type",
    "--exclude-resource-types": "--exclude-resource-type",
    "-d": "--debug",
    "-f": "--full-refresh",
    "-m": "--select",
    "-q": "--quiet",
    "-r": "--record-timing-info",
    "-s": "--select",
    "-t": "--target",
    "-x": "--fail-fast",
}
_FIRST = frozenset({"--host", "--port", "--version", "-V"})
# Any number of words that are no options: the nodes, or the files to clean.
_WORDS = {"clean": 99, "compile": 99, "docs": 99, "run-operation": 1, "snapshot": 99, "test": 99}

_FORMATS = ("text", "json", "default", "otel")
_LEVELS = ("off", "error", "warn", "info", "debug", "trace")
_KINDS = (
    "model, source, seed, snapshot, test, unit_test, analysis, function, semantic_model, metric, saved_query"
).split(", ")
_LISTINGS = ("json", "selector", "name", "path")
CHOICES: dict[str, tuple[str, ...]] = {
    "--compute": ("remote", "inline", "sidecar", "service"),
    "--exclude-resource-type": tuple(_KINDS),
    "--indirect-selection": ("eager", "cautious", "buildable", "empty"),
    "--log-format": _FORMATS,
    "--log-format-file": _FORMATS,
    "--log-level": _LEVELS,
    "--log-level-file": _LEVELS,
    "--output": ("table", "csv", "tsv", "json", "ndjson", "yml", "selector", "name", "path"),
    "--resource-type": tuple(_KINDS),
    "--run-cache-mode": ("noop", "read-write", "write-only"),
    # The last two stand in no help.
    "--static-analysis": ("off", "strict", "baseline", "on", "unsafe"),
}


class NativeInvocation(Invocation):
    """One command line of dbt 2, read."""

    exit_code_of_unexpected = 1
    commands = COMMANDS
    command_groups = COMMAND_GROUPS
    one_value = ONE_VALUE
    many_values = MANY_VALUES
    integers = frozenset(
        {"--limit", "--log-file-max-bytes", "--maximum-seed-size-mib", "--port", "--printer-width", "--threads"}
    )
    number_of_words = _WORDS
    choices_ignore_case = False

    @property
    def asks_for_version(self) -> bool:
        """Whether dbt only prints its version."""
        return any(before == 0 and name in ("--version", "-V") for before, name, _ in self.given)

    def known_options(self, position: int, dbt_version: str) -> frozenset[str]:  # noqa: ARG002 - dbt 1 asks
        """Return the options that are allowed in a position.

        :param position: the number of words before the option.
        :param dbt_version: the version; all that are known take the same.
        """
        return EVERYWHERE | (_FIRST if position == 0 else options_of(self.command))

    def choices_of(self, name: str) -> tuple[str, ...]:
        """Return the values that an option may have; empty where any value is allowed.

        :param name: the option.
        """
        if name == "--output" and self.words[:1] in (["ls"], ["list"]):
            return _LISTINGS
        return CHOICES.get(_LONG.get(name, name), ())

    def check(self, dbt_version: str) -> None:
        """Refuse what dbt 2 refuses.

        :param dbt_version: the version; all that are known take the same.
        :raises UsageError: the command does not take an option or word, or a value has the wrong type.
        """
        for before, name, values in self.given:
            if name in ONE_VALUE and values[0].startswith("-") and name != "--limit":
                exit_code = 2 if values[0] in self.known_options(before, dbt_version) else 1
                raise UsageError(f"'{name}' has no value before '{values[0]}'", exit_code)
        super().check(dbt_version)
        flags = set()
        for before, name, _ in self.given:
            flag = (before, _LONG.get(name, name))
            if flag in flags and name not in ONE_VALUE | MANY_VALUES:
                raise UsageError(f"the argument '{name}' cannot be used multiple times")
            flags.add(flag)

    def check_values(self) -> None:
        """Refuse values of options that dbt 2 refuses.

        :raises UsageError: a value is missing, is no valid choice, or is no number.
        """
        for name, values in self.options.items():
            if name in MANY_VALUES and not values and name not in ("--show", "--schema", "--pre-schema"):
                raise UsageError(f"a value is required for '{name}' but none was supplied")
        super().check_values()


def options_of(command: str) -> frozenset[str]:
    """Return the options of a command, without those that every command has.

    :param command: the command, such as ``run`` or ``docs generate``.
    """
    return frozenset(_OPTIONS.get(command, "").split())
