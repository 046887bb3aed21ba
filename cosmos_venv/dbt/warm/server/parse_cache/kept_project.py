"""STDLIB ONLY. One parsed project as a server keeps it: what dbt's classes make of its parse file, and what follows
from that alone.

No line of a project runs here, no adapter is made, and nothing is compared with the project's files: that dbt does, in
each command, with what it is given for its parse file as with what it would have read itself. What is kept is given out
for a file of the same bytes, but for the folder in which the project stands; whether two files are the same but for
that is told without keeping one of them.

``manifest.json`` is a dictionary of maps from ids to resources. A piece is the text of some neighbours in one of these
maps, without the brackets around, made by dbt's own classes: joined they are what dbt writes at once, letter by letter.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from cosmos_venv.dbt.warm.server import dbt_internals

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

    :param name: of the map.
    :param found: ids -> nodes.
    :param moving: identities of the nodes that say where the project stands.
    :param root: that place; empty when nothing of it is given out for another one.
    """
    # As it stands in JSON, where a letter may be escaped.
    named = json_of(root)[1:-1]
    ids = tuple(found)
    for begin in range(0, len(ids), LENGTH):
        keys = ids[begin : begin + LENGTH]
        some = {key: found[key] for key in keys}
        text = text_of(name, some)
        # The nodes that are switched off stand in lists, by their ids.
        nodes = (each for node in some.values() for each in (node if isinstance(node, list) else [node]))
        names_root = any(id(node) in moving for node in nodes) or (bool(root) and named in text)
        yield Piece(keys, text, state_of(some), names_root)


def state_of(some: Mapping[str, Any]) -> bytes:
    """A text that is equal for the same objects as long as nothing of them is changed. One pickle for all: each names
    its classes.

    :param some: ids -> nodes.
    """
    return pickle.dumps(list(some.values()), protocol=5)


def text_of(name: str, some: Mapping[str, Any]) -> bytes:
    """The text that dbt writes of these nodes in the map of that name, without the brackets around.

    :param name: of the map.
    :param some: ids -> nodes.
    """
    resources = {
        key: [each.to_resource() for each in node] if isinstance(node, list) else node.to_resource()
        for key, node in some.items()
    }
    written = _class_of_map(name)(**{name: resources}).to_dict(omit_none=False, context={"artifact": True})
    return json_of(written[name])[1:-1]


def json_of(value: Any) -> bytes:
    """A value as dbt's encoder writes it.

    :param value: which that encoder knows.
    """
    return json.dumps(value, cls=dbt_internals.encoder()).encode()


_classes: dict[str, Any] = {}


def _class_of_map(name: str) -> Any:
    """A class that has this field of dbt's own, of the same type: it is written by the same code."""
    if name not in _classes:
        kind = dbt_internals.written_class().__dataclass_fields__[name].type
        _classes[name] = dataclasses.make_dataclass("Written", [(name, kind)], bases=(dbt_internals.mixin(),))
    return _classes[name]


def joined(texts: Sequence[bytes]) -> Iterator[bytes]:
    """The pieces of one map, with what stands between them.

    :param texts: of the pieces.
    """
    for number, text in enumerate(texts):
        if number:
            yield SEPARATOR
        yield text


@dataclass(frozen=True)
class Likeness:
    """The common parts of parse files that are the same but for the folder of the project.

    :param size: of the whole file.
    :param begin: where in it the folder is named for the first time.
    :param length: of that folder's path; 0 when it is not known, so that only the same bytes are alike.
    :param digest: of all but the folder.
    """

    size: int
    begin: int
    length: int
    digest: bytes

    @classmethod
    def of(cls, content: bytes, place: bytes = b"") -> Likeness:
        """The likeness of one parse file.

        :param content: of the file.
        :param place: where its project stands; empty: that is not known.
        """
        begin = max(content.find(place), 0)
        return cls(len(content), begin, len(place), _digest(content, place))

    def is_of(self, content: bytes) -> bool:
        """Whether a parse file is like that one.

        :param content: of the file.
        """
        if len(content) != self.size:
            return False
        return _digest(content, content[self.begin : self.begin + self.length]) == self.digest


def _digest(content: bytes, place: bytes) -> bytes:
    # As many zero bytes: another folder of that length gives the same digest.
    return hashlib.sha256(content.replace(place, bytes(len(place))) if place else content).digest()


# With one of these missing dbt would look for it in the environment of this process.
_METADATA = {"dbt_version", "generated_at", "invocation_id", "invocation_started_at", "env"}


class KeptProject:
    """A project as its parse file says it is.

    :param content: of the parse file.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.likeness = Likeness.of(content)
        self.digest = self.likeness.digest
        self.used = time.monotonic()
        self.root = b""
        """Where it stands; empty when it may be given out for no other place."""
        self.rest: dict[str, Any] = {}
        """What a command reads for itself: all but the maps."""
        self.maps: dict[str, dict[str, Any]] = {}
        self.flat_graph: dict[str, dict[str, Any]] = {}
        self.moving: list[tuple[Any, str]] = []
        """What names the folder: an object or dictionary, and under which name."""
        self.texts: dict[str, list[Piece]] = {}
        self.keys: dict[str, tuple[str, ...]] = {}
        self.edges: dict[str, tuple[dict[str, list[str]], bytes]] = {}
        """Child, parent and group map, and their texts."""
        self.graph: Any = None
        self.types: dict[str, Any] = {}
        self.pickled_graph = b""
        self.is_graph_movable = False

    def moved_root(self, content: bytes) -> bytes | None:
        """The folder of the project in a parse file that is this one but for that; None when it is another one.

        :param content: of the file.
        """
        if content == self.content:
            return self.root
        if not self.root or len(content) != len(self.content):
            return None
        begin = self.content.index(self.root)
        other = content[begin : begin + len(self.root)]
        return other if self.content.replace(self.root, other) == content and _is_text(other) else None

    def hand_over(self, manifest: Any, root: bytes) -> None:
        """Put what is kept into a manifest of this process.

        :param manifest: dbt's.
        :param root: where the project stands for this process.
        """
        manifest.__dict__.update(self.maps)
        if root == self.root:
            return
        old, new = self.root.decode(), root.decode()
        # Set in the copy of this process: the server does not see it.
        for each, name in self.moving:
            if isinstance(each, dict):
                each[name] = each[name].replace(old, new)
            else:
                setattr(each, name, getattr(each, name).replace(old, new))

    def hand_over_edges(self, manifest: Any) -> None:
        """Put child, parent and group map into a manifest in which nothing has changed since.

        :param manifest: dbt's.
        """
        for name, (found, _) in self.edges.items():
            setattr(manifest, name, found)

    def make(self) -> Iterator[None]:
        """Make it all, a piece at each step.

        :raises Exception: whatever dbt says of a file that it cannot read. Then nothing is kept.
        """
        found = dbt_internals.decoder()(self.content)
        yield
        if _METADATA - {*found["metadata"]}:
            raise ValueError("metadata that is not complete")
        place = _place_in(found)
        self.likeness = Likeness.of(self.content, place.encode())
        names = dbt_internals.maps()
        self.rest = {name: value for name, value in found.items() if name not in names}
        yield from self._unpack({name: found.get(name) or {} for name in names})
        del found
        self._look_for_root(place)
        yield
        yield from self._flatten()
        yield from self._write()
        yield from self._link()

    def _unpack(self, packed: dict[str, dict[str, Any]]) -> Iterator[None]:
        maps = _maps_class()
        for name, entries in packed.items():
            self.maps[name] = {}
            items = list(entries.items())
            # A task that connects meanwhile waits for one step.
            for begin in range(0, len(items), LENGTH):
                some = dict(items[begin : begin + LENGTH])
                read = maps.from_msgpack(b"", decoder=lambda _, some=some, name=name: {name: some})
                self.maps[name].update(getattr(read, name))
                yield

    def _look_for_root(self, root: str) -> None:
        """Find out whether it can be moved: each place where the folder is named in the file is one that we know."""
        if not root:
            return
        homes = [getattr(file, "path", None) for file in self.maps["files"].values()]
        self.moving = [(home, "project_root") for home in homes if root in getattr(home, "project_root", "")]
        nodes = [*self.maps["nodes"].values(), *(each for some in self.maps["disabled"].values() for each in some)]
        self.moving += [(node, "root_path") for node in nodes if root in (getattr(node, "root_path", None) or "")]
        named = sum(getattr(each, name).count(root) for each, name in self.moving)
        # Named elsewhere too, such as in a description, it may mean something else there.
        if named == self.content.count(root.encode()):
            self.root = root.encode()

    def _flatten(self) -> Iterator[None]:
        for name in self._bare().flat_graph:
            flat = self.flat_graph[name] = {}
            for number, (key, node) in enumerate(self.maps[name].items()):
                flat[key] = node.to_dict(omit_none=False)
                if number % LENGTH == 0:
                    yield
        root = self.root.decode()
        if root:
            flats = (flat for some in self.flat_graph.values() for flat in some.values())
            self.moving += [(flat, "root_path") for flat in flats if root in (flat.get("root_path") or "")]

    def _bare(self) -> Any:
        """A manifest of nothing, with the flat graph that dbt makes of it."""
        bare = self.manifest_like({name: {} for name in self.maps})
        bare.build_flat_graph()
        return bare

    def manifest_like(self, maps: dict[str, dict[str, Any]]) -> Any:
        """A manifest with dbt's methods on these maps alone: without lock, metadata or anything of a process.

        :param maps: name of each map -> ids -> nodes.
        """
        manifest = dbt_internals.manifest_class()
        # Not by its constructor, which makes a lock that all forks would share.
        made = manifest.__new__(manifest)
        made.__dict__.update(maps)
        return made

    def _write(self) -> Iterator[None]:
        moving = {id(each) for each, _ in self.moving}
        for name in dbt_internals.maps():
            if name in dbt_internals.written_class().__dataclass_fields__:
                self.texts[name], self.keys[name] = [], tuple(self.maps[name])
                for piece in pieces(name, self.maps[name], moving, self.root.decode()):
                    self.texts[name].append(piece)
                    yield
        manifest = self.manifest_like(self.maps)
        manifest.build_parent_and_child_maps()
        manifest.build_group_map()
        for name in ("child_map", "parent_map", "group_map"):
            found = getattr(manifest, name)
            self.edges[name] = found, json_of(found)
            yield

    def _link(self) -> Iterator[None]:
        linker = dbt_internals.linker_class()()
        linker.link_graph(SimpleNamespace(**self.maps))
        yield
        manifest = self.manifest_like(self.maps)
        # dbt writes a copy with the data of each node, and goes on with the bare graph.
        written, places = linker.graph.copy(), []
        for number, key in enumerate(linker.graph):
            data = manifest.expect(key).to_dict(omit_none=True)
            self.types[key] = data["resource_type"]
            written.add_node(key, **data)
            places.append(data.get("root_path") or "")
            if number % LENGTH == 0:
                yield
        # As Linker.write_graph of dbt does it.
        self.pickled_graph = pickle.dumps(written, protocol=pickle.HIGHEST_PROTOCOL)
        self.is_graph_movable = is_named_in_these_alone(self.pickled_graph, self.root, places)
        self.graph = linker.graph


def is_named_in_these_alone(pickled: bytes, root: bytes, texts: Iterable[str]) -> bool:
    """Whether a pickle names a folder as often as these texts in it do, of which one object is written once.

    :param pickled: the pickle.
    :param root: the folder.
    :param texts: the objects in the pickle that may name it.
    """
    written = {id(text): text for text in texts}.values()
    return bool(root) and pickled.count(root) == sum(text.encode().count(root) for text in written)


def _place_in(found: dict[str, Any]) -> str:
    """The folder of a project, by its parse file."""
    name = found["metadata"].get("project_name")
    files = (file for file in (found.get("files") or {}).values() if file.get("project_name") == name)
    return next((file["path"].get("project_root") or "" for file in files if file.get("path")), "")


def _is_text(found: bytes) -> bool:
    try:
        return bool(found.decode())
    except UnicodeDecodeError:
        return False


_maps: list[Any] = []


def _maps_class() -> Any:
    """A class with those fields of dbt's manifest that are maps, of the same types, so that they are read by the same
    code; without the lock, which all forks would share, and the metadata, which asks the environment."""
    if not _maps:
        fields = dbt_internals.manifest_class().__dataclass_fields__
        made: list[Any] = [
            (name, fields[name].type, dataclasses.field(default_factory=dict)) for name in dbt_internals.maps()
        ]
        _maps.append(dataclasses.make_dataclass("Maps", made, bases=(dbt_internals.mixin(),)))
    return _maps[0]


LARGEST = 16 << 20
"""Bytes of a parse file beyond which nothing is kept: what takes longer to make in one step was not measured."""
