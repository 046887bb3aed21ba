"""STDLIB ONLY. How a forked dbt uses what its server keeps of the project, in place of what it would make of the same
bytes.

dbt reads its parse file and compares version, variables, profile, environment variables and files as ever; only what
follows from the file's bytes is taken from the server. Where dbt finds anything changed, or adds nodes of its own, it
makes everything else itself. Of what a command has found to fit and the server does not have, the server is told.

The flat graph, the texts of ``manifest.json``, the graph and what is written of it are taken too. Until nodes run
nothing in dbt but a plugin changes a manifest, so what is asked for first is given as it is kept; with plugins there is
nothing of this. Afterwards each piece of text is looked at: one whose nodes do not pickle to the same bytes is made
anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from cosmos_venv.dbt.warm.server import dbt_internals
from cosmos_venv.dbt.warm.server.parse_cache import kept_project
from cosmos_venv.dbt.warm.server.parse_cache.kept_project import LARGEST, KeptProject, Piece

_LOADED, _FLAT, _WRITTEN, _LINKED = range(4)


class Artifacts:
    """The artifacts that one command writes of a manifest that it has loaded unchanged.

    :param project: the kept project.
    :param root: where the command's project stands.
    :param manifest: what its loader gave out.
    """

    def __init__(self, project: KeptProject, root: bytes, manifest: Any) -> None:
        self.project = project
        self.root = root
        self.manifest = manifest
        self.is_moved = root != project.root
        self.state = _LOADED
        self.linker: Any = None
        self.has_test_edges = False

    def install(self) -> None:
        """Put ours in the place of dbt's functions, of which each is called where ours does not fit."""
        manifest, linker = dbt_internals.manifest_class(), dbt_internals.linker_class()
        dbt_internals.replace(
            (manifest, "build_flat_graph", self._flattening(manifest.build_flat_graph)),
            (manifest, "write", self._writing(manifest.write)),
            (linker, "link_graph", self._linking(linker.link_graph)),
            (linker, "add_test_edges", self._adding_test_edges(linker.add_test_edges)),
            (linker, "get_graph_summary", self._summing_up(linker.get_graph_summary)),
            (linker, "write_graph", self._writing_graph(linker.write_graph)),
        )

    def _flattening(self, build: Callable[[Any], None]) -> Callable[[Any], None]:
        def build_flat_graph(manifest: Any) -> None:
            if manifest is self.manifest and self.state == _LOADED:
                self.state = _FLAT
                manifest.flat_graph = self.project.flat_graph
            else:
                build(manifest)

        return build_flat_graph

    def _writing(self, write: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
        def writing(manifest: Any, path: str) -> None:
            if manifest is not self.manifest or self.state == _LOADED:
                write(manifest, path)
                return
            # Before the first node runs. dbt writes once more when all have run, and they may have changed then.
            is_as_loaded = self.state == _FLAT
            self.state = max(self.state, _WRITTEN)
            try:
                writable = self._writable(is_as_loaded=is_as_loaded)
            except Exception:  # noqa: BLE001 - dbt knows better what to say of it
                write(manifest, path)
                return
            # dbt asks the manifest for what it writes.
            manifest.writable_manifest = lambda: writable
            try:
                write(manifest, path)
            finally:
                del manifest.writable_manifest

        return writing

    def _writable(self, *, is_as_loaded: bool) -> Any:
        """The manifest as dbt writes it, without the maps; they come from the pieces when it is written."""
        manifest, project = self.manifest, self.project
        if is_as_loaded:
            project.hand_over_edges(manifest)
        else:
            manifest.build_parent_and_child_maps()
            manifest.build_group_map()
        small = project.manifest_like({name: {} for name in project.maps})
        small.metadata, small.selectors = manifest.metadata, manifest.selectors
        writable = small.writable_manifest()
        texts: dict[str, list[bytes]] = {}
        for name in project.texts:
            texts[name] = [b"{", *kept_project.joined(self._texts(name, is_as_loaded=is_as_loaded)), b"}"]
        for name, (before, text) in project.edges.items():
            now = getattr(manifest, name)
            texts[name] = [text if now == before else kept_project.json_of(now)]
        found = writable.to_dict(omit_none=False, context={"artifact": True})
        lines = {name: texts.get(name) or [kept_project.json_of(value)] for name, value in found.items()}
        writable.write = lambda path: _write(path, lines)
        return writable

    def _texts(self, name: str, *, is_as_loaded: bool) -> list[bytes]:
        """The texts of the pieces of one map."""
        found, pieces = getattr(self.manifest, name), self.project.texts[name]
        # A node has come or gone: the pieces do not fit any more.
        if tuple(found) != self.project.keys[name]:
            text = kept_project.text_of(name, found)
            return [text] if text else []
        return [self._text(name, found, piece, is_as_loaded=is_as_loaded) for piece in pieces]

    def _text(self, name: str, found: dict[str, Any], piece: Piece, *, is_as_loaded: bool) -> bytes:
        is_same = is_as_loaded and not (self.is_moved and piece.names_root)
        if is_same:
            return piece.text
        some = {key: found[key] for key in piece.keys}
        return piece.text if kept_project.state_of(some) == piece.state else kept_project.text_of(name, some)

    def _linking(self, link: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def link_graph(linker: Any, manifest: Any) -> None:
            is_kept = manifest is self.manifest and self.state in (_FLAT, _WRITTEN) and not len(linker.graph)
            self.state = _LINKED
            if is_kept and all(tuple(getattr(manifest, name)) == keys for name, keys in self.project.keys.items()):
                self.linker, linker.graph = linker, self.project.graph
            else:
                link(linker, manifest)

        return link_graph

    def _adding_test_edges(self, add: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def add_test_edges(linker: Any, manifest: Any) -> None:
            self.has_test_edges = True
            add(linker, manifest)

        return add_test_edges

    def _summing_up(self, sum_up: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def get_graph_summary(linker: Any, manifest: Any) -> Any:
            if linker is not self.linker or manifest is not self.manifest:
                return sum_up(linker, manifest)
            graph, types = linker.graph, self.project.types
            numbers = {name: number for number, name in enumerate(graph)}
            summary: dict[int, dict[str, Any]] = {}
            for name, number in numbers.items():
                summary[number] = {"name": name, "type": types[name]}
                successors = [numbers[each] for each in graph.successors(name)]
                if successors:
                    summary[number]["succ"] = successors
            return summary

        return get_graph_summary

    def _writing_graph(self, write: Callable[[Any, str, Any], None]) -> Callable[[Any, str, Any], None]:
        def write_graph(linker: Any, outfile: str, manifest: Any) -> None:
            # With test edges, as dbt build makes them, it is another graph.
            is_kept = linker is self.linker and manifest is self.manifest and not self.has_test_edges
            if not is_kept or (self.is_moved and not self.project.is_graph_movable):
                write(linker, outfile, manifest)
                return
            content = self.project.pickled_graph
            Path(outfile).write_bytes(content.replace(self.project.root, self.root) if self.is_moved else content)

        return write_graph


def _write(path: str, texts: dict[str, list[bytes]]) -> None:
    """Write a file as dbt writes JSON, from pieces of text."""
    path = dbt_internals.part("dbt_common.clients.system", "convert_path")(path)
    target = Path(path)
    dbt_internals.part("dbt_common.clients.system", "make_directory")(str(target.parent))
    with target.open("wb") as file:
        file.writelines(_lines(texts))


def _lines(texts: dict[str, list[bytes]]) -> Iterator[bytes]:
    yield b"{"
    for number, (name, text) in enumerate(texts.items()):
        yield (kept_project.SEPARATOR if number else b"") + kept_project.json_of(name) + b": "
        yield from text
    yield b"}"


OFFERED, USED = b"o", b"u"


def install(projects: Sequence[KeptProject], report: int) -> None:
    """Let dbt in this process use kept projects. Where that cannot be, dbt goes on as it is: no command fails for it.

    :param projects: those that the server keeps.
    :param report: a file for what the server is told afterwards.
    """
    with suppress(Exception):
        if dbt_internals.is_known():
            _Command(projects, report).install()


class _Command:
    """The dbt of this process, until its loader is done.

    :param projects: those that the server keeps.
    :param report: a file for what the server is told afterwards.
    """

    def __init__(self, projects: Sequence[KeptProject], report: int) -> None:
        self.projects = projects
        self.report = report
        self.manifest: Any = None
        """The first that was read: from the parse file."""
        self.content = b""
        """Of the parse file, where dbt has read it itself."""
        self.project: KeptProject | None = None
        self.root = b""
        self.loader: Any = None
        """While it loads."""
        self.is_modified = False

    def install(self) -> None:
        manifest, loader = dbt_internals.manifest_class(), dbt_internals.loader_class()
        dbt_internals.replace(
            (manifest, "from_msgpack", classmethod(self._reading(manifest, manifest.from_msgpack.__func__))),
            (loader, "load", self._loading(loader.load)),
            (loader, "inject_external_nodes", self._injecting(loader.inject_external_nodes)),
            (manifest, "build_parent_and_child_maps", self._mapping(manifest.build_parent_and_child_maps)),
        )

    def _reading(self, manifest: Any, read: Callable[..., Any]) -> Callable[..., Any]:
        def from_msgpack(cls: Any, data: bytes, *words: Any, **options: Any) -> Any:
            # dbt reads one parse file. A second one is not the project's.
            if cls is not manifest or self.manifest is not None:
                return read(cls, data, *words, **options)
            for project in self.projects:
                root = project.moved_root(data)
                if root is not None:
                    self.project, self.root = project, root
                    self.manifest = _given_out(project, root, partial(read, cls))
                    return self.manifest
            self.manifest, self.content = read(cls, data, *words, **options), data
            return self.manifest

        return from_msgpack

    def _loading(self, load: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def loading(loader: Any) -> Any:
            self.loader = loader
            try:
                manifest = load(loader)
            finally:
                self.loader = None
            is_first, content = manifest is self.manifest, self.content
            self.content = b""
            if is_first and loader.skip_parsing and not self.is_modified:
                if self.project is not None:
                    self._tell(USED + self.project.digest)
                    self._install_artifacts(self.project)
                elif 0 < len(content) <= LARGEST:
                    self._tell(OFFERED + content)
            return manifest

        return loading

    def _injecting(self, inject: Callable[[Any], bool]) -> Callable[[Any], bool]:
        def inject_external_nodes(loader: Any) -> bool:
            is_modified = inject(loader)
            self.is_modified = self.is_modified or is_modified
            return is_modified

        return inject_external_nodes

    def _mapping(self, build: Callable[[Any], None]) -> Callable[[Any], None]:
        def build_parent_and_child_maps(manifest: Any) -> None:
            # The loader asks for them twice where it has found nothing changed; before and later they may differ.
            is_unchanged = self.loader is not None and bool(self.loader.skip_parsing) and not self.is_modified
            if is_unchanged and self.project is not None and manifest is self.manifest:
                self.project.hand_over_edges(manifest)
            else:
                build(manifest)

        return build_parent_and_child_maps

    def _install_artifacts(self, project: KeptProject) -> None:
        with suppress(Exception):
            # A plugin may change the manifest between its load and its being written.
            if not dbt_internals.has_plugins():
                Artifacts(project, self.root, self.manifest).install()

    def _tell(self, words: bytes) -> None:
        """Read when this process has ended."""
        try:
            os.pwrite(self.report, words, 0)
        except OSError:
            pass  # it is for later commands


def _given_out(project: KeptProject, root: bytes, read: Callable[..., Any]) -> Any:
    # The small rest is read anew: it is of this process, as is the lock, which a killed command may hold.
    manifest = read(b"", decoder=lambda _: project.rest)
    project.hand_over(manifest, root)
    return manifest
