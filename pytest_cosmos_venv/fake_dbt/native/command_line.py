"""The command line of dbt 2: its commands, and the values of its options. A test compares them with the real dbt 2."""

from __future__ import annotations

from ..command_line import Invocation, UsageError

COMMANDS = frozenset(
    """
    build clean clone compile debug deps docs init list login ls man parse retry run run-operation seed show snapshot
    test
    """.split()
)
COMMAND_GROUPS = {"docs": frozenset({"generate", "serve"}), "source": frozenset({"freshness"})}

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
_SINGULAR = {"--resource-types": "--resource-type", "--exclude-resource-types": "--exclude-resource-type"}

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

    commands = COMMANDS
    command_groups = COMMAND_GROUPS
    one_value = ONE_VALUE
    many_values = MANY_VALUES
    integers = frozenset(
        {"--limit", "--log-file-max-bytes", "--maximum-seed-size-mib", "--port", "--printer-width", "--threads"}
    )
    choices_ignore_case = False

    @property
    def asks_for_version(self) -> bool:
        """Whether dbt only prints its version."""
        return any(before == 0 and name in ("--version", "-V") for before, name, _ in self.given)

    def choices_of(self, name: str) -> tuple[str, ...]:
        """Return the values that an option may have; empty where any value is allowed.

        :param name: the option.
        """
        if name == "--output" and self.words[:1] in (["ls"], ["list"]):
            return _LISTINGS
        return CHOICES.get(_SINGULAR.get(name, name), ())

    def check_values(self) -> None:
        """Refuse values of options that dbt 2 refuses.

        :raises UsageError: a value is missing, is no valid choice, or is no number.
        """
        for name, values in self.options.items():
            if name in MANY_VALUES and not values and name not in ("--show", "--schema", "--pre-schema"):
                raise UsageError(f"a value is required for '{name}' but none was supplied")
        super().check_values()
