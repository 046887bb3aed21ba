"""How does dbt write its artifacts? Here: the same text, made in one piece by Python's own C code.

dbt calls ``json.dump``, which never uses that code: it makes and writes each bracket and comma by itself, half a second
of a project of a thousand models, whose ``manifest.json`` is written twice. ``json.dumps`` makes the same text from the
same encoder (CPython, ``Lib/json/encoder.py``: ``_one_shot``), in as much more memory as the text is long.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from cosmos_venv.dbt.warm import dbt_parts


def make_in_one_piece() -> None:
    """Let dbt's encoder do so from now on, where it is one as we know it."""
    encoder = dbt_parts.encoder()
    if encoder is not None and encoder.iterencode is json.JSONEncoder.iterencode:
        encoder.iterencode = _in_one_piece


def _in_one_piece(self: json.JSONEncoder, o: Any, _one_shot: bool = False) -> Iterator[str]:
    return json.JSONEncoder.iterencode(self, o, _one_shot=True)
