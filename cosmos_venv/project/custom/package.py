"""The nodes of one package, made of its code, its seeds and its YAML; first as drafts, whose references are resolved
when the nodes of all packages are known.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from cosmos_venv import settings
from cosmos_venv.dbt.jinja_values import Unknown
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files import os_errors
from cosmos_venv.files.read_limits import read_file
from cosmos_venv.project.custom.generic_tests import Target, declared_tests, listed, tests_of
from cosmos_venv.project.custom.jinja_calls import Code, Reader, Ref, python_code
from cosmos_venv.project.custom.layout import Layout, as_in_manifest, merged, read_yaml, texts
from cosmos_venv.project.node_entry import DependsOn, NodeEntry, PlainEntry, TestMetadata

logger = logging.getLogger(__name__)

_REFERRED_TO = ("model", "seed", "snapshot")

_YAML = (".yml", ".yaml")
_KINDS = ("models", "seeds", "snapshots", "sources", "exposures", "unit_tests")
_OF_TESTS = {"materialized": "test", "schema": "dbt_test__audit", "severity": "ERROR"}
_NO_VERSIONS: list[dict[str, Any] | None] = [None]


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A node as its files make it, before it is known which other nodes its references mean.

    :param unique_id: its id, as dbt gives it.
    :param entry: the node, as a manifest has it, but for what it depends on.
    :param path: the file whose code it is.
    :param code: what this code says.
    :param reads: ids that are known already: for a test, that of the node it is declared on.
    """

    unique_id: str
    entry: NodeEntry
    path: Path
    code: Code = field(default_factory=Code)
    reads: tuple[str, ...] = ()


def resolved(drafts: Iterable[Draft]) -> dict[str, NodeEntry]:
    """Every entry by its id, with the ids of what it reads. What is disabled is left out, with its tests.

    A reference that names no node is a line in the log.

    :param drafts: the nodes of all packages, those of the root project first.
    :raises CosmosLoadDbtException: where two files make one node.
    """
    enabled = _enabled(drafts)
    sources = _sources(enabled.values())
    found = _by_name(enabled.values())
    entries = {}
    for unique_id, draft in enabled.items():
        if any(each not in enabled for each in draft.reads):
            continue
        reads = [*draft.reads, *_read_sources(draft, sources)]
        for ref in draft.code.refs:
            meant = _meant(ref, draft.entry.package_name or "", found)
            if meant is None:
                logger.warning(
                    "%s: ref(%r) names nothing that this project has and does not disable.", draft.path, ref.name
                )
            else:
                reads.append(meant)
        for call in draft.code.unknown:
            logger.warning("%s: what %s names is known to dbt only; load the project with dbt ls.", draft.path, call)
        draft.entry.depends_on = DependsOn(nodes=list(dict.fromkeys(reads)))
        entries[unique_id] = draft.entry
    return entries


def _by_name(drafts: Iterable[Draft]) -> dict[tuple[str, str], list[Draft]]:
    """The drafts that may be referred to, by package and name; several where a model has versions."""
    found: dict[tuple[str, str], list[Draft]] = {}
    for draft in drafts:
        if draft.entry.resource_type in _REFERRED_TO:
            found.setdefault((draft.entry.package_name or "", draft.entry.name or ""), []).append(draft)
    return found


def _meant(ref: Ref, package: str, found: dict[tuple[str, str], list[Draft]]) -> str | None:
    packages = [ref.package] if ref.package else [package, *(each for each, _ in found)]
    candidates = next((found[each, ref.name] for each in packages if (each, ref.name) in found), [])
    for draft in candidates:
        version, latest = draft.entry.version, draft.entry.latest_version
        if version is None or str(version) == (ref.version or str(latest)):
            return draft.unique_id
    return None


def _enabled(drafts: Iterable[Draft]) -> dict[str, Draft]:
    found: dict[str, Draft] = {}
    for draft in drafts:
        if (draft.entry.config or {}).get("enabled") is False:
            continue
        other = found.setdefault(draft.unique_id, draft)
        if other.path != draft.path and draft.entry.resource_type in _REFERRED_TO:
            raise CosmosLoadDbtException(
                f"{other.path} and {draft.path} both make {draft.unique_id}, which dbt refuses. Rename or disable one."
            )
        found[draft.unique_id] = draft
    return found


def _sources(drafts: Iterable[Draft]) -> dict[tuple[str, str], dict[str, str]]:
    """The ids of sources by package, by source and table."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for draft in drafts:
        if draft.entry.resource_type == "source":
            by_package = found.setdefault((draft.entry.source_name or "", draft.entry.name or ""), {})
            by_package[draft.entry.package_name or ""] = draft.unique_id
    return found


def _read_sources(draft: Draft, known: dict[tuple[str, str], dict[str, str]]) -> Iterator[str]:
    """The ids of its sources: of its own package, else of the root project, else of the others in turn."""
    for source in draft.code.sources:
        by_package = known.get(source)
        if by_package is None:
            logger.warning("%s: source%r names nothing that this project has and does not disable.", draft.path, source)
        else:
            yield by_package.get(draft.entry.package_name or "") or next(iter(by_package.values()))


@dataclass(kw_only=True)
class Package:
    """One package, or the project itself.

    :param layout: the package on disk.
    :param root: the project that it is installed in, on disk.
    :param reader: reads its SQL and its expressions.
    :param folders: the folders of models, seeds and snapshots, unless ``dbt_project.yml`` names them.
    """

    layout: Layout
    root: Layout
    reader: Reader
    folders: Mapping[str, str]
    _properties: dict[str, list[tuple[Path, Path, dict[str, Any]]]] = field(default_factory=dict)

    def drafts(self) -> list[Draft]:
        """The nodes of the package, in the order of a manifest."""
        self._properties = self._read_properties()
        nodes = [*self._models(), *self._seeds(), *self._snapshots(), *self._sources()]
        return [*nodes, *self._singular_tests(), *self._generic_tests(), *self._exposures(), *self._unit_tests()]

    def _read_properties(self) -> dict[str, list[tuple[Path, Path, dict[str, Any]]]]:
        found: dict[str, list[tuple[Path, Path, dict[str, Any]]]] = {kind: [] for kind in _KINDS}
        seen: set[Path] = set()
        for kind in ("models", "seeds", "snapshots", "tests"):
            for path, root in self._files(kind, _YAML):
                content = {} if path in seen else read_yaml(path)
                seen.add(path)
                for section in _KINDS:
                    found[section] += [(path, root, each) for each in listed(path, content, section)]
        return found

    def _files(self, kind: str, suffixes: tuple[str, ...]) -> Iterator[tuple[Path, Path]]:
        singular = kind.removesuffix("s")
        return self.layout.files(singular, [self.folders.get(kind, kind)], suffixes)

    def _models(self) -> Iterator[Draft]:
        versions = {stem: model for *_, model in self._properties["models"] for stem in _stems(model)}
        for path, root in self._files("models", (".sql", ".py")):
            text = _text(path)
            code = self.reader.sql(path, text) if path.suffix == ".sql" else python_code(path, text)
            folders, model = _folders(path, root), versions.get(path.stem)
            name = path.stem if model is None else str(model["name"])
            version = None if model is None else _stems(model)[path.stem]
            fqn = [*folders, name] if version is None else [*folders, name, f"v{version.get('v')}"]
            properties = self._of("models", name)
            config = self._config("models", fqn, [properties, version or {}], code, {"materialized": "view"})
            number = None if version is None else version.get("v")
            entry = self._entry("model", fqn, path, config, name=name, properties=properties)
            entry.version = number
            entry.latest_version = None if model is None else _latest(model)
            entry.access = str(config.get("access") or properties.get("access") or "protected")
            suffix = name if number is None else f"{name}.v{number}"
            yield Draft(unique_id=f"model.{self.layout.name}.{suffix}", entry=entry, path=path, code=code)

    def _seeds(self) -> Iterator[Draft]:
        for path, root in self._files("seeds", (".csv",)):
            yield self._simple("seeds", "seed", [*_folders(path, root), path.stem], path, Code())

    def _snapshots(self) -> Iterator[Draft]:
        for path, root in self._files("snapshots", (".sql",)):
            for name, code in self.reader.snapshots(path, _text(path)):
                yield self._simple("snapshots", "snapshot", [*_folders(path, root), path.stem, name], path, code)
        for path, root, properties in self._properties["snapshots"]:
            if properties.get("relation"):
                code = self.reader.expression(path, str(properties["relation"]))
                yield self._simple(
                    "snapshots", "snapshot", [*_folders(path, root), str(properties["name"])], path, code
                )

    def _singular_tests(self) -> Iterator[Draft]:
        for path, root in self._files("tests", (".sql",)):
            folders = _folders(path, root)
            if folders[:1] != ["generic"]:
                yield self._simple(
                    "data_tests", "test", [*folders, path.stem], path, self.reader.sql(path, _text(path))
                )

    def _sources(self) -> Iterator[Draft]:
        for path, root, source in self._properties["sources"]:
            for table in _mappings(source.get("tables")):
                name = str(table["name"])
                fqn = [*_folders(path, root), str(source["name"]), name]
                config = self._config("sources", fqn, [source, table], Code(), {})
                entry = self._entry("source", fqn, path, config, name=name, properties=table)
                entry.source_name = str(source["name"])
                entry.freshness = _freshness(source, table)
                unique_id = f"source.{self.layout.name}.{source['name']}.{name}"
                yield Draft(unique_id=unique_id, entry=entry, path=path)

    def _generic_tests(self) -> Iterator[Draft]:
        for kind in ("models", "seeds", "snapshots"):
            for path, root, properties in self._properties[kind]:
                name = str(properties["name"])
                versions = list(_mappings(properties.get("versions"), "v"))
                for version in versions or _NO_VERSIONS:
                    node, target = (
                        f"{kind.removesuffix('s')}.{self.layout.name}.{name}",
                        Target(shown=name, call=f"ref('{name}')"),
                    )
                    declared = properties
                    if version is not None:
                        number = version["v"]
                        node = f"{node}.v{number}"
                        target = Target(shown=f"{name}_v{number}", call=f"ref('{name}', version='{number}')")
                        declared = {
                            **properties,
                            "data_tests": tests_of(path, target.shown, version) or tests_of(path, name, properties),
                            "tests": [],
                        }
                    yield from self._tests_on(node, target, declared, path, root)
        for path, root, source in self._properties["sources"]:
            for table in _mappings(source.get("tables")):
                name = f"{source['name']}.{table['name']}"
                call = f"source('{source['name']}', '{table['name']}')"
                target = Target(shown=name.replace(".", "_"), call=call, prefix="source_")
                yield from self._tests_on(f"source.{self.layout.name}.{name}", target, table, path, root)

    def _tests_on(
        self, node: str, target: Target, properties: Mapping[str, Any], path: Path, root: Path
    ) -> Iterator[Draft]:
        for test in declared_tests(path, target, properties):
            fqn = [*_folders(path, root), test.name]
            config = self._config("data_tests", fqn, [{"config": test.config}], Code(), _OF_TESTS)
            entry = self._entry("test", fqn, path, config, name=test.name, properties={})
            entry.test_metadata = TestMetadata(name=test.kind)
            code = Code()
            for expression in test.expressions:
                if expression.lstrip(" {").startswith(("ref(", "source(")):
                    code.refs += self.reader.expression(path, expression).refs
                    code.sources += self.reader.expression(path, expression).sources
            unique_id = f"test.{self.layout.name}.{test.name}.{test.digest}"
            yield Draft(unique_id=unique_id, entry=entry, path=path, code=code, reads=(node,))

    def _exposures(self) -> Iterator[Draft]:
        for path, root, exposure in self._properties["exposures"]:
            code = Code()
            for each in texts(exposure.get("depends_on")):
                code.refs += self.reader.expression(path, each).refs
                code.sources += self.reader.expression(path, each).sources
            fqn = [*_folders(path, root), str(exposure["name"])]
            config = self._config("exposures", fqn, [exposure], Code(), {})
            entry = self._entry("exposure", fqn, path, config, name=fqn[-1], properties=exposure)
            yield Draft(unique_id=f"exposure.{self.layout.name}.{fqn[-1]}", entry=entry, path=path, code=code)

    def _unit_tests(self) -> Iterator[Draft]:
        for path, root, test in self._properties["unit_tests"]:
            code = self.reader.expression(path, f"ref('{test.get('model')}')")
            fqn = [*_folders(path, root), str(test.get("model")), str(test["name"])]
            config = self._config("unit_tests", fqn, [test], Code(), {})
            entry = self._entry("unit_test", fqn, path, config, name=fqn[-1], properties=test)
            unique_id = f"unit_test.{self.layout.name}.{fqn[-2]}.{fqn[-1]}"
            yield Draft(unique_id=unique_id, entry=entry, path=path, code=code)

    def _simple(self, section: str, kind: str, fqn: list[str], path: Path, code: Code) -> Draft:
        properties = self._of(section, fqn[-1])
        defaults = _OF_TESTS if kind == "test" else {"materialized": kind}
        config = self._config(section, fqn, [properties], code, defaults)
        entry = self._entry(kind, fqn, path, config, name=fqn[-1], properties=properties)
        return Draft(unique_id=f"{kind}.{self.layout.name}.{fqn[-1]}", entry=entry, path=path, code=code)

    def _of(self, section: str, name: str) -> dict[str, Any]:
        return next((each for *_, each in self._properties.get(section, ()) if str(each["name"]) == name), {})

    def _config(
        self,
        section: str,
        fqn: list[str],
        properties: list[dict[str, Any]],
        code: Code,
        defaults: dict[str, Any],
    ) -> dict[str, Any]:
        config: dict[str, Any] = {"enabled": True, "tags": [], "meta": {}, **defaults}
        sections = [section, "tests"] if section == "data_tests" else [section]
        for layout in dict.fromkeys([id(self.layout), id(self.root)]):
            tree = self.layout if layout == id(self.layout) else self.root
            for part in sections:
                config = merged(config, tree.configured(part, [self.layout.name, *fqn]))
        for each in properties:
            above: dict[str, Any] = {key: each[key] for key in ("tags", "meta", "enabled", "group") if key in each}
            config = merged(merged(config, self._rendered(above)), self._rendered(each.get("config") or {}))
        config = merged(config, code.config)
        config["enabled"] = _is_true(config["enabled"])
        return config

    def _rendered(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        rendered = {}
        for key, value in properties.items():
            try:
                rendered[key] = self.root.render(value) if isinstance(value, str) else value
            except Unknown:
                continue
        return rendered

    def _entry(
        self, kind: str, fqn: list[str], path: Path, config: dict[str, Any], *, name: str, properties: Mapping[str, Any]
    ) -> NodeEntry:
        plain = as_in_manifest(path, f"{kind} {name}", config)
        folder = self.layout.folder
        return PlainEntry(
            resource_type=kind,
            package_name=self.layout.name,
            # As in a manifest: model-paths may name a folder anywhere by its whole path.
            original_file_path=(path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix(),
            tags=plain["tags"],
            config=plain,
            fqn=[self.layout.name, *fqn],
            name=name,
            description=str(properties.get("description") or ""),
            columns=_columns(properties),
        )


def _folders(path: Path, root: Path) -> list[str]:
    return list(path.relative_to(root).parts[:-1])


def _mappings(value: Any, key: str = "name") -> Iterator[dict[str, Any]]:
    return (each for each in value or [] if isinstance(each, dict) and key in each)


def _columns(properties: Mapping[str, Any]) -> msgspec.Raw:
    said = {
        str(each["name"]): {"description": str(each.get("description") or "")}
        for each in _mappings(properties.get("columns"))
    }
    return msgspec.Raw(msgspec.json.encode(said))


def _stems(model: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The names of the files of a model's versions."""
    versions = _mappings(model.get("versions"), "v")
    return {str(each.get("defined_in") or f"{model['name']}_v{each['v']}"): each for each in versions}


def _latest(model: Mapping[str, Any]) -> Any:
    given = model.get("latest_version")
    return (
        given if given is not None else max((each["v"] for each in _mappings(model.get("versions"), "v")), key=_order)
    )


def _order(version: Any) -> tuple[bool, float, str]:
    try:
        return True, float(version), ""
    except (TypeError, ValueError):
        return False, 0.0, str(version)


def _freshness(*levels: Mapping[str, Any]) -> dict[str, Any] | None:
    """The freshness of a table, else of its source, as a property or in a configuration."""
    for level in reversed(levels):
        for declared in (level.get("config") or {}, level):
            if isinstance(declared, dict) and "freshness" in declared:
                found = declared["freshness"]
                return found if isinstance(found, dict) else None
    return None


def _is_true(value: object) -> bool:
    return value.strip().lower() not in ("false", "0", "no", "") if isinstance(value, str) else bool(value)


def _text(path: Path) -> str:
    try:
        return read_file(path, settings.limit("project_file_max_bytes")).decode("utf-8-sig")
    except OSError as error:
        raise CosmosLoadDbtException(f"{path} cannot be read: {os_errors.reason_of(error)}") from None
    except UnicodeDecodeError as error:
        raise CosmosLoadDbtException(f"{path} cannot be read: {error}.") from None
