"""How is a Variable rewritten whose form is the implementation's own? By what is surely a checksum in it."""

from __future__ import annotations

import json
import re
from typing import Any

# MD5 has 32 digits, SHA-512 has 128.
_DIGEST = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{32,128}(?![0-9A-Fa-f])")


def with_checksum(text: str, checksum: str) -> str | None:
    """The text of a Variable with another checksum in it; JSON keeps its shape. None where it holds no checksum."""
    try:
        document = json.loads(text)
    except ValueError:
        document = text
    if not isinstance(document, (dict, list)):
        return _DIGEST.sub(checksum, text) if _DIGEST.search(text) else None
    changed = _replaced(document, checksum)
    return json.dumps(changed) if changed != document or checksum in text else None


def damaged(text: str) -> str:
    """The first half: what a write that was cut off would have left."""
    return text[: len(text) // 2]


def _replaced(document: Any, checksum: str) -> Any:
    """Values only: what is a key of an object is no checksum."""
    if isinstance(document, dict):
        return {key: _replaced(value, checksum) for key, value in document.items()}
    if isinstance(document, list):
        return [_replaced(value, checksum) for value in document]
    return _DIGEST.sub(checksum, document) if isinstance(document, str) else document
