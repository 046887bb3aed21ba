"""What does a server keep of a project? What dbt's classes make of its parse file, and what follows from that alone.

No line of a project runs here, no adapter is made, and nothing is compared with the project's files: that dbt does, in
each command, with what it is given for its parse file as with what it would have read itself. What is kept is given out
for a file of the same bytes, but for the folder in which the project stands.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from cosmos_venv.dbt.warm import artifact_texts, dbt_parts
from cosmos_venv.dbt.warm.artifact_texts import LENGTH, Piece

MOST = 2
LARGEST = 32 << 20
"""Bytes of a parse file beyond which nothing is kept."""
MEMORY_FACTOR = 24
"""Bytes of memory for one of the parse file, at most, while it is made."""
# With one of these missing dbt would look for it in the environment of this process.
_METADATA = {"dbt_version", "generated_at", "invocation_id", "invocation_started_at", "env"}


class KeptProject:
    """A project as its parse file says it is.

    :param content: of the parse file.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.digest = hashlib.sha256(content).digest()
        self.used = time.monotonic()
        self.root = b""
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

    def moved_root(self, content: bytes) -> bytes | None:
        """Where the project stands in a parse file that is this one but for that; None when it is another one."""
        if content == self.content:
            return self.root
        if not self.root or len(content) != len(self.content):
            return None
        begin = self.content.index(self.root)
        other = content[begin : begin + len(self.root)]
        return other if self.content.replace(self.root, other) == content and _is_text(other) else None

    def hand_over(self, manifest: Any, root: bytes) -> None:
        """Put what is kept into a manifest of this process, whose project stands in ``root``."""
        manifest.__dict__.update(self.maps)
        if root == self.root:
            return
        old, new = self.root.decode(), root.decode()
        for each, name in self.moving:
            if isinstance(each, dict):
                each[name] = each[name].replace(old, new)
            else:
                setattr(each, name, getattr(each, name).replace(old, new))

    def hand_over_edges(self, manifest: Any) -> None:
        """Put child, parent and group map into a manifest in which nothing has changed since."""
        for name, (found, _) in self.edges.items():
            setattr(manifest, name, found)

    def make(self) -> Iterator[None]:
        """Make it all, a piece at each step.

        :raises Exception: whatever dbt says of a file that it cannot read. Then nothing is kept.
        """
        found = dbt_parts.decoder()(self.content)
        yield
        if _METADATA - {*found["metadata"]}:
            raise ValueError("metadata that is not complete")
        names = dbt_parts.maps()
        self.rest = {name: value for name, value in found.items() if name not in names}
        yield from self._unpack({name: found.get(name) or {} for name in names})
        del found
        self._look_for_root()
        yield
        yield from self._flatten()
        yield from self._write()
        yield from self._link()

    def _unpack(self, packed: dict[str, dict[str, Any]]) -> Iterator[None]:
        maps = _maps_class()
        for name, entries in packed.items():
            self.maps[name] = {}
            items = list(entries.items())
            for begin in range(0, len(items), LENGTH):
                some = dict(items[begin : begin + LENGTH])
                read = maps.from_msgpack(b"", decoder=lambda _, some=some, name=name: {name: some})
                self.maps[name].update(getattr(read, name))
                yield

    def _look_for_root(self) -> None:
        """It can be moved when each place where the folder is named in the file is one that we know."""
        project = self.rest["metadata"].get("project_name")
        homes = [(file, getattr(file, "path", None)) for file in self.maps["files"].values()]
        root = next((home.project_root for file, home in homes if home and file.project_name == project), "")
        if not root:
            return
        self.moving = [(home, "project_root") for _, home in homes if root in getattr(home, "project_root", "")]
        nodes = [*self.maps["nodes"].values(), *(each for some in self.maps["disabled"].values() for each in some)]
        self.moving += [(node, "root_path") for node in nodes if root in (getattr(node, "root_path", None) or "")]
        named = sum(getattr(each, name).count(root) for each, name in self.moving)
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
        """dbt's methods on these maps alone: without lock, metadata or anything of a process."""
        manifest = dbt_parts.manifest_class()
        made = manifest.__new__(manifest)
        made.__dict__.update(maps)
        return made

    def _write(self) -> Iterator[None]:
        moving = {id(each) for each, _ in self.moving}
        for name in dbt_parts.maps():
            if name in dbt_parts.written_class().__dataclass_fields__:
                self.texts[name], self.keys[name] = [], tuple(self.maps[name])
                for piece in artifact_texts.pieces(name, self.maps[name], moving, self.root.decode()):
                    self.texts[name].append(piece)
                    yield
        manifest = self.manifest_like(self.maps)
        manifest.build_parent_and_child_maps()
        manifest.build_group_map()
        for name in ("child_map", "parent_map", "group_map"):
            found = getattr(manifest, name)
            self.edges[name] = found, artifact_texts.json_of(found)
            yield

    def _link(self) -> Iterator[None]:
        linker = dbt_parts.linker_class()()
        linker.link_graph(SimpleNamespace(**self.maps))
        yield
        manifest = self.manifest_like(self.maps)
        written = linker.graph.copy()
        for number, key in enumerate(linker.graph):
            data = manifest.expect(key).to_dict(omit_none=True)
            self.types[key] = data["resource_type"]
            written.add_node(key, **data)
            if number % LENGTH == 0:
                yield
        self.pickled_graph = pickle.dumps(written, protocol=pickle.HIGHEST_PROTOCOL)
        self.graph = linker.graph


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
        fields = dbt_parts.manifest_class().__dataclass_fields__
        made: list[Any] = [
            (name, fields[name].type, dataclasses.field(default_factory=dict)) for name in dbt_parts.maps()
        ]
        _maps.append(dataclasses.make_dataclass("Maps", made, bases=(dbt_parts.mixin(),)))
    return _maps[0]


class KeptProjects:
    """The few that one server keeps: those that were used last."""

    def __init__(self) -> None:
        self.ready: list[KeptProject] = []
        self.uses = 0
        """Commands that have used one."""
        self._offered: bytes | None = None
        self._making: tuple[KeptProject, Iterator[None]] | None = None

    @property
    def memory(self) -> int:
        """Bytes that they may take, what is being made included."""
        making = len(self._making[0].content) if self._making else 0
        return MEMORY_FACTOR * (making + sum(len(each.content) for each in self.ready))

    @property
    def size(self) -> int:
        """Bytes of their parse files."""
        return sum(len(each.content) for each in self.ready)

    @property
    def is_making(self) -> bool:
        """Whether something of one is yet to be made."""
        return self._making is not None or self._offered is not None

    def offer(self, content: bytes) -> None:
        """A parse file that dbt has just read, and found to fit the project."""
        is_kept = any(each.moved_root(content) is not None for each in self.ready)
        if not is_kept and len(content) <= LARGEST and dbt_parts.is_known():
            self._offered = content

    def use(self, digest: bytes) -> None:
        """A command has used the project of this digest."""
        self.uses += 1
        for each in self.ready:
            if each.digest == digest:
                each.used = time.monotonic()

    def forget_unused(self, seconds: float) -> bool:
        """Whether one was dropped that no command has used for so long."""
        left = [each for each in self.ready if time.monotonic() - each.used <= seconds]
        has_dropped = len(left) < len(self.ready)
        self.ready[:] = left
        return has_dropped

    def take_step(self) -> bool:
        """Make a piece of what was offered. Whether there was something to make.

        :raises StopIteration: when all of one was made, or cannot be.
        """
        if self._making is None:
            if self._offered is None:
                return False
            project, self._offered = KeptProject(self._offered), None
            self._making = project, project.make()
        project, steps = self._making
        try:
            next(steps)
        except StopIteration:
            self._making = None
            self.ready[:] = [*sorted(self.ready, key=lambda each: each.used)[-(MOST - 1) :], project]
            raise
        except Exception:  # noqa: BLE001 - dbt then says itself what is wrong with it
            self._making = None
            raise StopIteration from None
        return True
