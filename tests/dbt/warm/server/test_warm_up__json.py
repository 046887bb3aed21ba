"""dbt's encoder makes in one piece, letter by letter, the text that it makes in many."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from cosmos_venv.processes import guard
from tests.installed import environment_of

# Writes one document as dbt does, before and after; says the texts, and how often was written.
WRITE = """
import datetime, decimal, enum, io, json, sys, types
package = types.ModuleType("cosmos_venv"); package.__path__ = [sys.argv[1]]; sys.modules["cosmos_venv"] = package
import jinja2
from dbt_common.clients import system
from dbt_common.dataclass_schema import StrEnum
from dbt_common.utils.encoding import ForgivingJSONEncoder, JSONEncoder
from cosmos_venv.dbt.warm.server import warm_up

class Pier(StrEnum):
    north = "north"

class Number(enum.IntEnum):
    one = 1

class Ship:
    def to_dict(self, omit_none):
        return {"omit_none": omit_none, "name": "Fram"}

class Count(io.StringIO):
    writes = 0
    def write(self, text):
        self.writes += 1
        return super().write(text)

DOCUMENT = {
    "text": 'a "quoted" \\\\ \\n \\u2028 \\x00 \\ud800 caf\\u00e9 \\U0001f6a2', "empty": [{}, [], (), ""],
    "numbers": [0, -1, 2**70, 1.5, 1e300, 0.1, float("nan"), float("inf"), -float("inf"), True, None, Number.one],
    1: "key", 2.5: "key", True: "key", None: "key", Pier.north: Pier.north,
    "others": [decimal.Decimal("1.10"), datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 1, 2, 3, 4),
               jinja2.Undefined(), ValueError("no such pier"), Ship()],
}

def written(encoder, document):
    file = Count()
    try:
        json.dump(document, file, cls=encoder)
    except TypeError as error:
        return [str(error), 0]
    return [file.getvalue(), file.writes]

def all_written():
    found = [written(encoder, DOCUMENT) for encoder in (JSONEncoder, ForgivingJSONEncoder)]
    return [*found, written(JSONEncoder, {"no": {1}}), written(ForgivingJSONEncoder, {"forgiven": {1}})]

before = all_written()
warm_up.patch_json_encoder()
print(json.dumps([before, all_written()]))
"""


@pytest.mark.parametrize("release", ["dbt111", "dbt110"])
def test_the_text_is_the_same_and_comes_in_one_piece(release: str) -> None:
    words = [str(environment_of(release) / "bin" / "python"), "-c", WRITE, str(Path(guard.__file__).parents[1])]

    done = subprocess.run(words, capture_output=True, text=True, check=True)

    before, after = json.loads(done.stdout)
    assert [text for text, _ in after] == [text for text, _ in before]
    assert [pieces for _, pieces in after] == [1, 1, 0, 1]
    assert before[0][1] > 50
