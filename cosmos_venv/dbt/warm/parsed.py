"""How does a forked dbt use what its server keeps of the project? In place of what it would make of the same bytes.

dbt reads its parse file and compares version, variables, profile, environment variables and files as ever; only what
follows from the file's bytes is taken from the server. Where dbt finds anything changed, or adds nodes of its own, it
makes everything else itself. Of what a command has found to fit and the server does not have, the server is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from cosmos_venv.dbt.warm import dbt_parts
from cosmos_venv.dbt.warm.kept_project import KeptProject
from cosmos_venv.dbt.warm.kept_projects import LARGEST
from cosmos_venv.dbt.warm.parsed_artifacts import Artifacts

OFFERED, USED = b"o", b"u"


def install(projects: Sequence[KeptProject], report: int) -> None:
    """Let dbt in this process use them. Where that cannot be, dbt goes on as it is: no command fails for it.

    :param report: a file for what the server is told afterwards.
    """
    with suppress(Exception):
        if dbt_parts.is_known():
            _Command(projects, report).install()


class _Command:
    """The dbt of this process, until its loader is done."""

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
        manifest, loader = dbt_parts.manifest_class(), dbt_parts.loader_class()
        dbt_parts.replace(
            (manifest, "from_msgpack", classmethod(self._reading(manifest, manifest.from_msgpack.__func__))),
            (loader, "load", self._loading(loader.load)),
            (loader, "inject_external_nodes", self._injecting(loader.inject_external_nodes)),
            (manifest, "build_parent_and_child_maps", self._mapping(manifest.build_parent_and_child_maps)),
        )

    def _reading(self, manifest: Any, read: Callable[..., Any]) -> Callable[..., Any]:
        def from_msgpack(cls: Any, data: bytes, *words: Any, **options: Any) -> Any:
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
            if not dbt_parts.has_plugins():
                Artifacts(project, self.root, self.manifest).install()

    def _tell(self, words: bytes) -> None:
        """Read when this process has ended."""
        try:
            os.pwrite(self.report, words, 0)
        except OSError:
            pass  # it is for later commands


def _given_out(project: KeptProject, root: bytes, read: Callable[..., Any]) -> Any:
    # What is small is read anew: it is of this process, as is the lock, which a killed command may hold.
    manifest = read(b"", decoder=lambda _: project.rest)
    project.hand_over(manifest, root)
    return manifest
