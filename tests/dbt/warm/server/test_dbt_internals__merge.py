"""Relations are quoted as dbt quotes them: what is merged is the same, and so is what it becomes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from cosmos_venv.processes import guard
from tests.installed import environment_of

# Merges all that it can think of, by dbt's function and by ours, and says where the two differ, or share a value.
MERGE = """
import itertools, json, sys, types
package = types.ModuleType("cosmos_venv"); package.__path__ = [sys.argv[1]]; sys.modules["cosmos_venv"] = package
import dbt.adapters.base.relation as relation
import dbt.adapters.contracts.relation as contracts
from cosmos_venv.dbt.warm.server import dbt_internals

class Word(str):
    pass

class Mapping(dict):
    pass

before = relation.deep_merge
dbt_internals.patch_deep_merge()
values = [{}, {"a": True}, {"b": None, "a": False}, {"a": {"b": 1}}, {"a": [1]}, {"a": (2,)}, {"b": Word("x")},
          Mapping(a=1), {"c": 1.5, "a": "text"}, None, [1], {1: "x"}]

def outcome(merge, args):
    try:
        found = merge(*args)
    except Exception as error:
        return [type(error).__name__]
    shared = any(value is other for each in args if isinstance(each, dict) for value in each.values()
                 for other in (found or {}).values() if isinstance(value, (dict, list)))
    order = list(found) if isinstance(found, dict) else None
    return [repr(found), type(found).__name__, shared, found is not None and any(found is each for each in args), order]

different, number = [], 0
for length in range(5):
    for args in itertools.product(values, repeat=length):
        number += 1
        required, seen = outcome(before, args), outcome(relation.deep_merge, args)
        if required != seen:
            different.append([repr(args), required, seen])
print(json.dumps([number, different[:5], relation.deep_merge is not before, contracts.deep_merge is not before]))
"""


@pytest.mark.long
@pytest.mark.parametrize("release", ["dbt111", "dbt110"])
def test_merged_dictionaries_are_those_of_dbt(release: str) -> None:
    words = [str(environment_of(release) / "bin" / "python"), "-Bc", MERGE, str(Path(guard.__file__).parents[1])]

    done = subprocess.run(words, capture_output=True, text=True, check=True)

    number, different, *is_ours = json.loads(done.stdout)
    assert number > 20_000
    assert different == []
    assert is_ours == [True, True]
