"""How does dbt say how each relation is quoted? Here: by the same merge of dictionaries, without copying each flag.

dbt makes a relation of each node twice before anything runs, and merges four small dictionaries of flags for each. Its
``deep_merge`` copies every value by ``copy.deepcopy``, though a flag needs no copy: a tenth of a command of a thousand
models whose project is kept. Where any value is more than a flag, a text or a number, dbt's own function is called.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from cosmos_venv.dbt.warm.dbt_parts import part

_MERGE = "deep_merge"
_CALLERS = ("dbt.adapters.base.relation", "dbt.adapters.contracts.relation")
_NEEDS_NO_COPY = frozenset({bool, int, float, str, type(None)})


def make_flat() -> None:
    """Let dbt's relations do so from now on, where they use dbt's function."""
    merge = part("dbt_common.utils.dict", _MERGE)
    if merge is None:
        return
    ours = _flat(merge)
    for name in _CALLERS:
        if part(name, _MERGE) is merge:
            setattr(sys.modules[name], _MERGE, ours)


def _flat(merge: Callable[..., Any]) -> Callable[..., Any]:
    def deep_merge(*args: Any) -> Any:
        merged: dict[Any, Any] = {}
        for each in args:
            if type(each) is not dict or not _NEEDS_NO_COPY.issuperset(map(type, each.values())):
                return merge(*args)
            merged.update(each)
        return merged if args else None

    return deep_merge
