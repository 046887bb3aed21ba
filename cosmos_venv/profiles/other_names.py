"""What do dbt's adapters call a field besides? Which of the names one knows, that adapter says itself."""

from __future__ import annotations

_SAME = (
    frozenset({"database", "dbname", "catalog", "project", "target_catalog"}),
    frozenset({"schema", "dataset", "target_schema"}),
    frozenset({"user", "username", "UID"}),
    frozenset({"host", "server"}),
)


def names_of(field: str) -> frozenset[str]:
    """The field, and the names that mean the same."""
    return next((names for names in _SAME if field in names), frozenset({field}))
