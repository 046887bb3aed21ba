"""How does dbt name a generic test? After its arguments; the unique id ends with a hash of all it was given."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

# A relation's name has 63 characters on PostgreSQL.
_LONGEST = 63
_KEPT = 30
_HASH_LENGTH = 10


def synthesized_names(identifier: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """The short name (file, alias) and the full name (unique id) of a test that was given none.

    :param identifier: test and tested thing: ``unique_stg_piers``.
    :param arguments: with ``column_name``, without ``model``.
    """
    parts = [str(part) for name in sorted(arguments) for part in _parts(arguments[name])]
    full = "_".join([identifier, "__".join(re.sub("[^0-9a-zA-Z_]+", "_", part) for part in parts)])
    if len(full) <= _LONGEST:
        return full, full
    return f"{identifier[:_KEPT]}_{_md5(full)}", full


def id_hash(name: str, metadata: Mapping[str, Any]) -> str:
    """The end of a generic test's unique id.

    :param metadata: ``namespace``, ``name`` and ``kwargs``, as in the manifest.
    """
    return _md5(name + repr(_canonical(metadata)))[-_HASH_LENGTH:]


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _canonical(value[key]) for key in sorted(value)}
    return [_canonical(one) for one in value] if isinstance(value, list) else str(value)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
