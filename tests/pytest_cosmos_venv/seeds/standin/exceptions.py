"""The error that Cosmos has for parameters that do not go together."""

from __future__ import annotations


class CosmosValueError(ValueError):
    """A parameter, or two together, cannot be what they are."""
