"""Variants of what is remembered of a seed."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

from ..mutants.inside import instead_of
from ..mutants.mutant import Original
from .variant import Variant

_MEMORY = "operators.seeds.seed_state"


class RemembersInBase64(Variant):
    """Writes the checksum in Base64, which is shorter than hexadecimal digits."""

    keeps = ("SEED-008", "SEED-009", "SEED-016")

    def begin(self) -> None:
        instead_of(_MEMORY, "encoded", _encoded)
        instead_of(_MEMORY, "decoded", _decoded)


def _encoded(sound: Original, *given: Any) -> str:
    content = json.loads(sound(*given))
    return json.dumps({**content, "checksum": b64encode(bytes.fromhex(content["checksum"])).decode()})


def _decoded(sound: Original, text: str | None) -> Any:
    try:
        content = json.loads(text or "")
        return sound(json.dumps({**content, "checksum": b64decode(content["checksum"]).hex()}))
    except (ValueError, TypeError, KeyError):
        return None
