"""What would a manifest hold of a configuration that YAML, SQL or Python has given?"""

from __future__ import annotations

import json
from datetime import date, time
from pathlib import Path
from typing import Any

import msgspec

from cosmos_venv.exceptions import CosmosLoadDbtException


def as_in_manifest(path: Path, shown: str, config: dict[str, Any]) -> dict[str, Any]:
    """The configuration as it is read from the ``manifest.json`` that dbt writes: its encoder makes texts of dates, and
    JSON of keys. So the nodes of both are alike, and so is what a worker reads of a plan that is kept.

    :param path, shown: of the file and the node, for errors.
    :raises CosmosLoadDbtException: for what is no JSON then: a set, which dbt refuses, or ``.nan``, which it writes all
        the same.
    """
    try:
        plain: dict[str, Any] = msgspec.json.decode(json.dumps(config, default=_as_dbt_writes, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise CosmosLoadDbtException(
            f"{path}: the configuration of {shown} has what no manifest can hold: {error}. Write texts, numbers, lists "
            "and mappings."
        ) from error
    return plain


def _as_dbt_writes(value: object) -> str:
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    raise TypeError(f"{value!r} is a {type(value).__name__}")
