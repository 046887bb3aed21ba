"""Selections by chance: what a real dbt selects of the same project, and whether it refuses, is our answer too."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.project.manifest import Manifest
from tests.installed import DBT_111, needs_dbt
from tests.project.selection.conftest import DATA, ours

ORDERS = 1500
ENTRIES: list[dict[str, Any]] = [
    entry
    for section in ("nodes", "sources", "exposures", "unit_tests")
    for entry in json.loads((DATA / "manifest.json").read_text())[section].values()
]
WORDS = {
    "access": ("private", "protected", "public"),
    "exposure": ("ops_feed", "weekly_report", "shopfloor.ops_feed", "a.b.c"),
    "group": ("finance",),
    "package": ("shopfloor", "toolkit", "this", "nope"),
    "resource_type": ("model", "seed", "test", "unit_test", "source", "snapshot", "analysis", "exposure", "nope"),
    "source": ("raw", "raw.orders", "shopfloor.raw.orders", "a.b.c.d"),
    "tag": ("nightly", "core", "hourly"),
    "test_name": ("unique", "not_null", "relationships"),
    "test_type": ("generic", "singular", "unit", "data", "schema", "nope"),
    "unit_test": ("amounts_kept", "shopfloor.amounts_kept"),
    "version": ("latest", "old", "prerelease", "none", "nope"),
    "config.materialized": ("view", "table"),
    "config.meta.owner": ("ana",),
    "config.tags": ("nightly",),
    "config.severity": ("warn", "WARN"),
    "config.enabled": ("true", "False"),
    "state": ("modified",),
    "nope": ("x",),
}


class Chance:
    """Items, words and orders as users might write them, and some that nobody would."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - tests by chance

    def order(self) -> dict[str, Any]:
        pick = self._random.choice
        return {
            "select": [pick((self._word(), f"{self._word()} {self._word()}")) for _ in range(pick((0, 1, 1, 2)))],
            "exclude": [self._word() for _ in range(pick((0, 0, 1, 2)))],
        }

    def _word(self) -> str:
        return ",".join(self._item() for _ in range(self._random.choice((1, 1, 1, 2, 2, 3))))

    def _item(self) -> str:
        pick, value = self._random.choice, self._value()
        which = self._random.random()
        if which < 0.12:
            value = f"@{value}"
        elif which < 0.45:
            value = f"{pick(('+', '1+', '2+', '0+', ''))}{value}{pick(('', '+', '+1', '+0'))}"
        return f"{pick(('++', '+ ', '@@', '-'))}{value}" if self._random.random() < 0.03 else value

    def _value(self) -> str:
        pick, entry = self._random.choice, self._random.choice(ENTRIES)
        fqn, path = entry["fqn"], entry["original_file_path"]
        begin = self._random.randrange(len(fqn))
        end = self._random.randint(begin + 1, len(fqn))
        folder = "/".join(path.split("/")[: self._random.randint(1, path.count("/") + 1)])
        if self._random.random() < 0.5:
            return pick(
                (
                    self._wild(fqn[-1]),
                    self._wild(".".join(fqn[begin:end])),
                    f"fqn:{self._wild('.'.join(fqn[:end]))}",
                    f"{pick(('path:', ''))}{self._wild(folder)}{pick(('', '', '/', '/*', '/**'))}",
                    f"{pick(('file:', ''))}{self._wild(path.rpartition('/')[2])}",
                    pick(fqn),
                )
            )
        method = pick(list(WORDS))
        return f"{method}:{self._wild(pick(WORDS[method]))}"

    def _wild(self, text: str) -> str:
        if self._random.random() < 0.7:
            return text
        at = self._random.randrange(len(text))
        patterns = (f"{text[:at]}*", f"{text[:at]}?{text[at + 1 :]}", f"*{text[at:]}", f"[{text[0]}]{text[1:]}")
        return self._random.choice(patterns)


@pytest.mark.long
@needs_dbt
def test_selections_by_chance_come_to_what_dbt_selects(manifest: Manifest, tmp_path: Path) -> None:
    project = shutil.copytree(DATA / "project", tmp_path / "project")
    seed = random.SystemRandom().randrange(10**9)
    chance = Chance(seed)
    orders = [chance.order() for _ in range(ORDERS)]

    done = subprocess.run(
        [DBT_111 / "bin" / "python", DATA / "dbt_side.py", project],
        input=json.dumps([{**order, "indirect_selection": "eager"} for order in orders]),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
    )

    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    refused = sum(isinstance(answer, str) for answer in answers)
    assert 0.05 < refused / ORDERS < 0.6  # else the orders ask for nothing, or for nonsense
    for order, answer in zip(orders, answers, strict=True):
        expected = "refused" if isinstance(answer, str) else answer
        assert ours(manifest, **order) == expected, f"chance {seed}: {order}"
