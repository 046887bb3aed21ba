"""What does dbt write of each node in its artifacts? Pieces of the same text, made by dbt's own classes.

``manifest.json`` is a dictionary of maps from ids to resources. A piece is the text of some neighbours in one of these
maps, without the brackets around: joined they are what dbt writes at once, letter by letter.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cosmos_venv.dbt.warm import dbt_parts

LENGTH = 40
"""Nodes of a piece."""
SEPARATOR = b", "


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some neighbours in one map of a manifest.

    :param keys: their ids.
    :param text: what dbt writes of them.
    :param state: what they pickle to; while that is the same, so is the text.
    :param names_root: whether one of them says where the project stands.
    """

    keys: tuple[str, ...]
    text: bytes
    state: bytes
    names_root: bool


def pieces(name: str, found: Mapping[str, Any], moving: set[int], root: str) -> Iterator[Piece]:
    """The pieces of one map, one at a time.

    :param moving: identities of the nodes that say where the project stands.
    :param root: that place; empty when nothing of it is given out for another one.
    """
    named = json_of(root)[1:-1]
    for keys in _in_pieces(tuple(found)):
        some = {key: found[key] for key in keys}
        text = text_of(name, some)
        # The nodes that are switched off stand in lists, by their ids.
        nodes = (each for node in some.values() for each in (node if isinstance(node, list) else [node]))
        names_root = any(id(node) in moving for node in nodes) or (bool(root) and named in text)
        yield Piece(keys, text, state_of(some), names_root)


def _in_pieces(keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for begin in range(0, len(keys), LENGTH):
        yield keys[begin : begin + LENGTH]


def state_of(some: Mapping[str, Any]) -> bytes:
    """Equal for the same objects as long as nothing of them is changed. One pickle for all: each names its classes."""
    return pickle.dumps(list(some.values()), protocol=5)


def text_of(name: str, some: Mapping[str, Any]) -> bytes:
    """What dbt writes of these nodes in the map of that name, without the brackets around."""
    resources = {key: _resource(node) for key, node in some.items()}
    written = _class_of_map(name)(**{name: resources}).to_dict(omit_none=False, context={"artifact": True})
    return json_of(written[name])[1:-1]


def json_of(value: Any) -> bytes:
    """As dbt's encoder writes it."""
    return json.dumps(value, cls=dbt_parts.encoder()).encode()


def _resource(node: Any) -> Any:
    return [each.to_resource() for each in node] if isinstance(node, list) else node.to_resource()


_classes: dict[str, Any] = {}


def _class_of_map(name: str) -> Any:
    """A class that has this field of dbt's own, of the same type: it is written by the same code."""
    if name not in _classes:
        kind = dbt_parts.written_class().__dataclass_fields__[name].type
        _classes[name] = dataclasses.make_dataclass("Written", [(name, kind)], bases=(dbt_parts.mixin(),))
    return _classes[name]


def joined(texts: Sequence[bytes]) -> Iterator[bytes]:
    """The pieces of one map, with what stands between them."""
    for number, text in enumerate(texts):
        if number:
            yield SEPARATOR
        yield text
