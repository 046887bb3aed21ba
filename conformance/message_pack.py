"""How is a parse file of dbt written without dbt? MessagePack of maps, texts and whole numbers."""

from __future__ import annotations

import struct


def packed(value: object) -> bytes:
    """The bytes of a value.

    :param value: a dictionary, a list, a text or a whole number from 0 on below 2**32.
    :raises TypeError: anything else.
    """
    if isinstance(value, dict):
        members = b"".join(packed(key) + packed(each) for key, each in value.items())
        return b"\xdf" + struct.pack(">I", len(value)) + members
    if isinstance(value, list):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(packed, value))
    if isinstance(value, str):
        text = value.encode()
        return b"\xdb" + struct.pack(">I", len(text)) + text
    if isinstance(value, int):
        return b"\xce" + struct.pack(">I", value)
    raise TypeError(f"{type(value).__name__} cannot be packed: give maps, lists, texts, whole numbers.")
