"""The nodes of a dbt project, read from its SQL, CSV, Python and YAML files, as ``dbt ls`` lists them.

Neither Jinja nor dbt is used. ``ProjectFiles.unread`` lists the parts that cannot be read without them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from .code_reader import Reading, Scope
from .configs import OF_TESTS, id_hash, merged_config, node_config, synthesized_names, test_config
from .files import Files, checksum, load_yaml
from .packages import Packages
from .yaml_properties import (
    Described,
    at_top,
    columns_of,
    freshness_of,
    latest_version,
    listed,
    test_and_arguments,
    tests_of,
    tests_of_version,
    versions_of,
)

Entry = dict[str, Any]
"""The entry of one node in a manifest."""
Reads = tuple[Any, ...]
"""The words of a ``source()`` (group, table) or of a ``ref()`` (package, name, version)."""
REFABLE = ("model", "seed", "snapshot")
# Kind -> the key of its folders in dbt_project.yml, its folder by default, and the endings of its files.
_FOLDERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "model": ("model-paths", "models", (".sql", ".py")),
    "snapshot": ("snapshot-paths", "snapshots", (".sql",)),
    "seed": ("seed-paths", "seeds", (".csv",)),
    "test": ("test-paths", "tests", (".sql",)),
    "analysis": ("analysis-paths", "analyses", (".sql",)),
    "macro": ("macro-paths", "macros", (".sql",)),
}
_YAML = (".yml", ".yaml")
_SECTIONS = ("models", "seeds", "snapshots", "data_tests", "tests", "sources", "exposures", "unit_tests")
_UNREAD_SECTIONS = ("metrics", "semantic_models", "saved_queries")
_OLD_PATHS = ("data-paths", "source-paths")
_SNAPSHOT = re.compile(r"{%-?\s*snapshot\s+(\w+).*?%}(.*?){%-?\s*endsnapshot\s*-?%}", re.DOTALL)
_MACRO = re.compile(r"{%-?\s*macro\s+(\w+).*?{%-?\s*endmacro\s*-?%}", re.DOTALL)
_NO_ARGUMENTS = (*OF_TESTS, "arguments", "column_name", "config", "description", "name", "test_name")
_TARGET = {"name": "dev", "schema": "main", "database": "dev", "profile_name": "dev", "type": ""}


class _Package(NamedTuple):
    """A folder with a ``dbt_project.yml``, and the content of this file."""

    folder: Path
    name: str
    settings: dict[str, Any]
    scope: Scope


class _Tested(NamedTuple):
    """A node or source that has generic tests.

    :param label: its name in names of tests.
    :param reference: the ``ref()`` or ``source()`` by which its tests read it.
    :param entry: its entry; None for a source.
    """

    label: str
    reference: str
    entry: Entry | None


class ProjectFiles:
    """The project in a folder.

    ``entries`` are its enabled nodes by unique id, and ``all`` are all nodes. ``name`` is the name of the project.
    ``missing`` are pairs: the unique id of a node, and a ``ref()`` or ``source()`` of it without a target.

    :param folder: the folder of the project, with its ``dbt_project.yml``.
    :param variables: the values of ``--vars``.
    :param target: values of ``target`` in the texts of the project; missing keys have defaults.
    :param files: the files; None: those on the disk.
    """

    def __init__(
        self,
        folder: Path,
        variables: Mapping[str, Any] | None = None,
        target: Mapping[str, Any] | None = None,
        files: Files | None = None,
    ) -> None:
        self._variables = variables or {}
        self._target = {**_TARGET, **(target or {})}
        self._source = files or Files()
        self.unread: list[str] = []
        self.missing: list[tuple[str, Reads]] = []
        self.all: dict[str, Entry] = {}
        self._named: dict[tuple[str, str, str], str] = {}
        self._macros: dict[str, dict[str, str]] = {}
        self._readings: dict[str, tuple[Reading, str]] = {}
        root = self._package(folder)
        self.name = root.name
        self._packages = [root, *self._installed(folder)]
        for package in self._packages:
            self._read_macros(package)
            self.unread += [f"functions of {package.name}"] * (package.folder / "functions").is_dir()
            self.unread += [f"{each} of {package.name}" for each in _OLD_PATHS if each in package.settings]
        described = [(package, self._described(package)) for package in self._packages]
        for package, found in described:
            self._read_nodes(package, found)
        for package, found in described:
            self._read_yaml_nodes(package, found)
        for unique_id, (reading, home) in self._readings.items():
            self.all[unique_id]["depends_on"] = self._depends_on(unique_id, reading, home)
        self.entries = {name: entry for name, entry in self.all.items() if self._is_enabled(entry)}

    def refusals(self) -> Iterator[str]:
        """Yield dbt's sentence for each ``ref()`` or ``source()`` that makes dbt refuse the project.

        It has no target, or its target is a disabled model, seed or snapshot.
        """
        for _, sentence in self.without_target():
            yield sentence
        off = {name for name in self.all.keys() - self.entries.keys() if name.split(".")[0] in REFABLE}
        for unique_id, entry in self.entries.items():
            for parent in off.intersection((entry.get("depends_on") or {}).get("nodes", ())):
                yield f"{self._reader(unique_id)} node named '{parent.split('.')[2]}' which is disabled"

    def without_target(self) -> Iterator[tuple[Reads, str]]:
        """Yield each ``ref()`` or ``source()`` without a target, with dbt's sentence. dbt only warns of tests."""
        for unique_id, reads in self.missing:
            if unique_id in self.entries and self.all[unique_id]["resource_type"] != "test":
                yield reads, f"{self._reader(unique_id)} {_target(reads)} which was not found"

    def _reader(self, unique_id: str) -> str:
        entry = self.all[unique_id]
        return f"{entry['resource_type'].title()} '{unique_id}' ({entry['original_file_path']}) depends on a"

    def _is_enabled(self, entry: Entry) -> bool:
        is_test = entry["resource_type"] in ("test", "unit_test")
        parents = entry.get("depends_on", {}).get("nodes", []) if is_test else []
        return all(each["config"].get("enabled", True) for each in (entry, *map(self.all.__getitem__, parents)))

    def _package(self, folder: Path) -> _Package:
        settings = load_yaml((folder / "dbt_project.yml").read_text(encoding="utf-8"))  # always from the disk
        settings = settings if isinstance(settings, dict) else {}
        name = str(settings.get("name") or folder.name)
        given = settings.get("vars") or {}
        variables = {**given, **(given.get(name) or {}), **self._variables}
        scope = Scope(variables, self._target)
        return _Package(folder, name, {key: scope.rendered(settings[key]) for key in settings if key != "vars"}, scope)

    def _installed(self, folder: Path) -> Iterator[_Package]:
        for place in Packages(folder).places():
            if [each.name for each in place.iterdir()] == ["dbt_project.yml"]:
                self.unread.append(f"the package {place.name}, which is not installed but for its name")
            else:
                yield self._package(place)

    def _files(self, package: _Package, kind: str, endings: tuple[str, ...]) -> Iterator[tuple[Path, tuple[str, ...]]]:
        key, default, _ = _FOLDERS[kind]
        for folder in package.settings.get(key) or [default]:
            for file in self._source.below(package.folder / folder):
                if file.suffix in endings:
                    yield file, file.parent.relative_to(package.folder / folder).parts

    def _read_macros(self, package: _Package) -> None:
        texts = (self._source.text(file) for file, _ in self._files(package, "macro", (".sql",)))
        self._macros[package.name] = {block[1]: block[0] for text in texts for block in _MACRO.finditer(text)}

    def _described(self, package: _Package) -> dict[str, list[Described]]:
        found: dict[str, list[Described]] = {section: [] for section in _SECTIONS}
        files = {file: folders for kind in _FOLDERS for file, folders in self._files(package, kind, _YAML)}
        for file, folders in files.items():
            path = file.relative_to(package.folder).as_posix()
            document = self._source.document(file)
            if not isinstance(document, dict):
                self.unread += [f"{path}, which is no YAML of dbt"] * (document != "")
                continue
            self.unread += [f"{each} in {path}" for each in _UNREAD_SECTIONS if document.get(each)]
            for section in _SECTIONS:
                named = [each for each in document.get(section) or () if isinstance(each, dict) and "name" in each]
                found[section] += [Described(each, path, folders) for each in named]
        return found

    # Files

    def _read_nodes(self, package: _Package, described: dict[str, list[Described]]) -> None:
        for kind in ("seed", "model", "snapshot", "test", "analysis"):
            section = ["data_tests", "tests"] if kind == "test" else [f"{kind}s"]
            known = {each.properties["name"]: each for key in section for each in described.get(key, ())}
            versions = dict(versions_of(known)) if kind == "model" else {}
            for file, folders in self._files(package, kind, _FOLDERS[kind][2]):
                if kind == "test" and folders[:1] == ("generic",):
                    continue
                text = "" if kind == "seed" else self._source.text(file)
                if kind == "snapshot":
                    for found in _SNAPSHOT.finditer(text):
                        of_file = (*folders, file.stem)
                        self._add(package, kind, found[1], file, of_file, found[2], known.get(found[1]))
                elif file.stem in versions:
                    name, version, each = versions[file.stem]
                    self._add(package, kind, name, file, folders, text, each, version)
                else:
                    self._add(package, kind, file.stem, file, folders, text, known.get(file.stem))
        for each in described["snapshots"]:
            relation = str(each.properties.get("relation") or "").strip("{} ")
            if relation:
                file = package.folder / each.file / f"{each.properties['name']}.sql"
                name, text = each.properties["name"], "{{ " + relation + " }}"
                self._add(package, "snapshot", name, file, each.folders, text, each)

    def _add(
        self,
        package: _Package,
        kind: str,
        name: str,
        file: Path,
        folders: tuple[str, ...],
        text: str,
        described: Described | None,
        version: Any = None,
    ) -> None:
        """Add the node of a file, or of a snapshot in YAML."""
        properties = described.properties if described else {}
        is_python = file.suffix == ".py"
        # Macros of the project can be called from everywhere; those of the package have priority.
        macros = {**self._macros, "": {**self._macros[self.name], **self._macros[package.name]}}
        reading = Reading(package.scope, macros)
        reading = reading.read_python(text) if is_python else reading.read(text)
        below = () if version is None else (f"v{version}",)
        # An analysis is configured by the section of models.
        own_folder, section = (("analysis",), "models") if kind == "analysis" else ((), f"{kind}s")
        fqn = [package.name, *own_folder, *folders, name, *below]
        unique_id = ".".join((kind, package.name, name, *below))
        said = {**at_top(properties, "access", "group"), **_config(package, properties)}
        config = test_config() if kind == "test" else node_config(kind)
        if is_python:
            config["materialized"] = "table"
        for nearer in (*self._of_folders(package, section, fqn), said, reading.config):
            config = merged_config(config, nearer)
        if config.get("begin"):
            config["begin"] = datetime.fromisoformat(str(config["begin"])).isoformat()
        path = file.relative_to(package.folder)
        is_in_yaml = described is not None and path.as_posix().startswith(f"{described.file}/")
        self.all[unique_id] = {
            **_identity(
                package, kind, name, unique_id, described.file if described and is_in_yaml else path.as_posix()
            ),
            "path": "/".join((*own_folder, *path.parts[1:])),
            "fqn": fqn,
            "alias": config["alias"] or "_".join((name, *below)),
            **self._place(config, config.get("target_schema")),
            **_of_config(config),
            "depends_on": {"macros": []},
            "description": properties.get("description") or "",
            "columns": columns_of(properties),
            "patch_path": described and f"{package.name}://{described.file}",
            "raw_code": text.strip(),
            "checksum": checksum(text),
        }
        if kind == "model":
            latest = latest_version(properties) if version is not None else None
            self.all[unique_id] |= {"version": version, "latest_version": latest, "access": config["access"]}
        if kind != "seed":
            self.all[unique_id]["language"] = "python" if is_python else "sql"
            self._readings[unique_id] = (reading, package.name)
            self.unread += [f"{each} in {path.as_posix()}" for each in reading.unread]
        if kind in REFABLE:
            if config["materialized"] != "ephemeral":
                self.all[unique_id]["relation_name"] = _relation(self.all[unique_id], "alias")
            self._named[package.name, name, "" if version is None else str(version)] = unique_id
            if version is not None and str(version) == str(latest_version(properties)):
                self._named[package.name, name, ""] = unique_id

    def _place(self, config: Mapping[str, Any], alone: Any = None) -> Entry:
        """Return database and schema; dbt appends a configured schema to the target's schema."""
        schema = alone or "_".join(filter(None, (self._target["schema"], config["schema"])))
        return {"database": config["database"] or self._target["database"], "schema": schema}

    def _of_folders(self, package: _Package, section: str, fqn: list[str]) -> Iterator[dict[str, Any]]:
        """Yield the configurations of a node in ``dbt_project.yml``, the least specific first, those of the root
        project last.
        """
        root = self._packages[0]
        for owner in [package] if package is root else [package, root]:
            names = ("data_tests", "tests") if section == "tests" else (section,)
            for name in names:
                tree = owner.settings.get(name)
                for level in (None, *fqn):
                    tree = tree.get(level) if level is not None and isinstance(tree, dict) else tree
                    if not isinstance(tree, dict):
                        break
                    given = {k: v for k, v in tree.items() if str(k).startswith("+") or not isinstance(v, dict)}
                    yield {str(key).lstrip("+").strip().replace("_hook", "-hook"): given[key] for key in given}

    # Nodes of YAML

    def _read_yaml_nodes(self, package: _Package, described: dict[str, list[Described]]) -> None:
        for kind in REFABLE:
            for each in described[f"{kind}s"]:
                self._read_tests_of_node(package, kind, each)
        for each in described["sources"]:
            for table in each.properties.get("tables") or ():
                self._add_source(package, each, table)
        for section, add in (("exposures", self._add_exposure), ("unit_tests", self._add_unit_test)):
            for each in described[section]:
                add(package, each)

    def _read_tests_of_node(self, package: _Package, kind: str, described: Described) -> None:
        properties = described.properties
        name = properties["name"]
        versions = properties.get("versions") or [None]
        for each in versions:
            version = None if each is None else each.get("v")
            unique_id = ".".join((kind, package.name, name, *(() if version is None else (f"v{version}",))))
            if unique_id not in self.all:
                continue
            written = (version is not None and f", version='{version}'") or ""
            tested = _Tested(
                label=name if version is None else f"{name}_v{version}",
                reference=f"ref('{name}'{written})",
                entry=self.all[unique_id],
            )
            self._add_tests(package, described, tested, {**properties, **tests_of_version(properties, each)}, [])

    def _add_tests(
        self, package: _Package, described: Described, tested: _Tested, properties: Mapping[str, Any], tags: list[str]
    ) -> None:
        for test in tests_of(properties):
            self._add_test(package, described, tested, test, None, tags)
        for column in properties.get("columns") or ():
            if isinstance(column, dict) and "name" in column:
                name = f'"{column["name"]}"' if column.get("quote") else str(column["name"])
                column_tags = [*listed(column.get("tags")), *listed((column.get("config") or {}).get("tags"))]
                for test in tests_of(column):
                    self._add_test(package, described, tested, test, name, [*tags, *column_tags])

    def _add_test(
        self, package: _Package, described: Described, tested: _Tested, test: Any, column: str | None, tags: list[str]
    ) -> None:
        called, given = test_and_arguments(test)
        namespace, _, macro = called.rpartition(".")
        arguments = {key: given[key] for key in given if key not in _NO_ARGUMENTS}
        arguments |= given.get("arguments") or {}
        column = given.get("column_name", column)
        if column is not None:
            arguments["column_name"] = column
        prefix = "source_" if tested.entry is None else ""
        identifier = "_".join(filter(None, (namespace, f"{prefix}{macro}", tested.label)))
        short, name = (given["name"],) * 2 if given.get("name") else synthesized_names(identifier, arguments)
        kwargs = {**arguments, "model": "{{ get_where_subquery(" + tested.reference + ") }}"}
        metadata = {"namespace": namespace or None, "name": macro, "kwargs": kwargs}
        unique_id = f"test.{package.name}.{name}.{id_hash(name, metadata)}"
        fqn = [package.name, *described.folders, name]
        said = {key: given[key] for key in given if key in OF_TESTS} | (given.get("config") or {})
        said = package.scope.rendered(said)
        config = test_config() if short == name else {**test_config(), "alias": short}
        for nearer in (*self._of_folders(package, "tests", fqn), said):
            config = merged_config(config, nearer)
        reading = Reading(package.scope)
        for value in (*arguments.values(), tested.reference):
            call = value.strip("{} ") if isinstance(value, str) else ""
            if call.startswith(("ref(", "source(")):
                reading.read("{{ " + call + " }}")
        entry = tested.entry or {}
        self.all[unique_id] = {
            **_identity(package, "test", name, unique_id, described.file),
            "path": f"{short}.sql",
            "fqn": fqn,
            "alias": config["alias"] or name,
            **self._place(config),
            **_of_config(config, tags),
            "checksum": {"name": "none", "checksum": ""},
            "language": "sql",
            "group": entry.get("group"),
            "test_metadata": metadata,
            "column_name": column,
            "attached_node": entry.get("unique_id"),
            "description": given.get("description") or "",
            "patch_path": None,
        }
        self._readings[unique_id] = (reading, package.name)

    def _add_source(self, package: _Package, described: Described, table: dict[str, Any]) -> None:
        rendered = package.scope.rendered
        source = described.properties
        name, table_name = rendered(source["name"]), rendered(table["name"])
        self.unread += [f"the name {each} in {described.file}" for each in (name, table_name) if "{{" in each]
        unique_id = f"source.{package.name}.{name}.{table_name}"
        fqn = [package.name, *described.folders, name, table_name]
        said = [_config(package, source), _config(package, table)]
        config: dict[str, Any] = {"enabled": True, "event_time": None}
        for nearer in (*self._of_folders(package, "sources", fqn), *said):
            config.update(nearer)
        own_tags = [*listed(source.get("tags")), *listed(table.get("tags"))]
        tags = {*own_tags, *(tag for each in said for tag in listed(each.get("tags")))}
        config["tags"] = sorted(tags) or listed(config.get("tags"))
        places = (source, said[0], table, said[1])
        config["meta"] = {key: each["meta"][key] for each in places for key in each.get("meta") or ()}
        config["freshness"] = freshness_of(places)
        for key in ("loaded_at_field", "loaded_at_query"):
            given = [each[key] for each in (*said, source, table) if each.get(key)]
            config[key] = given[-1] if given else None
        self.all[unique_id] = {
            **_identity(package, "source", table_name, unique_id, described.file),
            "path": described.file,
            "fqn": fqn,
            "source_name": name,
            "database": rendered(source.get("database")) or self._target["database"],
            "schema": rendered(source.get("schema") or name),
            "identifier": rendered(table.get("identifier")) or table_name,
            **{key: config[key] for key in ("freshness", "loaded_at_field", "loaded_at_query")},
            "config": config,
            "tags": config["tags"],
            "meta": config["meta"],
            "description": table.get("description") or "",
            "source_description": source.get("description") or "",
            "columns": columns_of(table),
            "loader": "",
            "patch_path": None,
        }
        self.all[unique_id]["relation_name"] = _relation(self.all[unique_id], "identifier")
        self._named[package.name, name, f"source {table_name}"] = unique_id
        tested = _Tested(
            label=f"{name}_{table_name}",
            reference=f"source('{name}', '{table_name}')",
            entry=None,
        )
        self._add_tests(package, described, tested, table, own_tags)

    def _add_exposure(self, package: _Package, described: Described) -> None:
        exposure = described.properties
        unique_id = f"exposure.{package.name}.{exposure['name']}"
        fqn = [package.name, *described.folders, exposure["name"]]
        config: dict[str, Any] = {"enabled": True, "tags": [], "meta": {}}
        said = _config(package, exposure)
        for nearer in (*self._of_folders(package, "exposures", fqn), said, at_top(exposure, "tags", "meta")):
            config = merged_config(config, nearer)
        self.all[unique_id] = {
            **_identity(package, "exposure", exposure["name"], unique_id, described.file),
            "path": "/".join(described.file.split("/")[1:]),
            "fqn": fqn,
            "type": exposure.get("type"),
            "owner": exposure.get("owner"),
            **_of_config(config),
        }
        del self.all[unique_id]["group"]
        text = " ".join("{{ " + str(each) + " }}" for each in exposure.get("depends_on") or ())
        self._readings[unique_id] = (Reading(package.scope).read(text), package.name)

    def _add_unit_test(self, package: _Package, described: Described) -> None:
        test = described.properties
        found = {
            key[2]: unique_id for key, unique_id in self._named.items() if key[:2] == (package.name, test.get("model"))
        }
        wanted = test.get("versions") or {}
        known = {each for each in found if each and not each.startswith("source ")}
        versions = known.intersection(map(str, wanted.get("include") or known)).difference(
            map(str, wanted.get("exclude") or ())
        )
        for version in sorted(versions) or [""]:
            model = self.all.get(found.get(version, ""))
            if model is None:
                continue
            name = test["name"]
            unique_id = f"unit_test.{package.name}.{test['model']}.{name}{f'_v{version}' if version else ''}"
            config = merged_config({"tags": [], "meta": {}, "enabled": True}, _config(package, test))
            self.all[unique_id] = {
                **_identity(package, "unit_test", name, unique_id, described.file),
                "path": "/".join(described.file.split("/")[1:]),
                "fqn": [package.name, *described.folders, test["model"], name],
                "model": test["model"],
                "given": test.get("given") or [],
                "expect": test.get("expect") or {},
                "config": config,
                # dbt gives a unit test no tags of its own.
                "depends_on": {"macros": [], "nodes": [model["unique_id"]]},
                "schema": model["schema"],
                "version": model["version"],
            }

    # References

    def _depends_on(self, unique_id: str, reading: Reading, home: str) -> dict[str, list[str]]:
        names: dict[Reads, str | None] = {}
        for source, table in reading.sources:
            names[source, table] = self._find(source, f"source {table}", None, home)
        for package, name, version in reading.refs:
            names[package, name, version] = self._find(name, version, package, home)
        self.missing += [(unique_id, each) for each, found in names.items() if found is None]
        return {"macros": [], "nodes": list(dict.fromkeys(name for name in names.values() if name is not None))}

    def _find(self, name: str, version: Any, package: str | None, home: str) -> str | None:
        version = "" if version is None else str(version)
        # The root project comes before the node's own package, unless dbt's flag
        # require_ref_searches_node_package_before_root is set.
        places = [package] if package else [self.name, home, *(each.name for each in self._packages)]
        return next(
            (self._named[key] for key in ((each, name, version) for each in places) if key in self._named), None
        )


def _target(reads: Reads) -> str:
    """Return the target of a ``ref()`` or ``source()`` as dbt names it."""
    if len(reads) == 2:
        return f"source named '{'.'.join(reads)}'"
    package, name, version = reads
    of_version = "" if version is None else f" with version '{version}'"
    return f"node named '{name}'{of_version}" + (f" in package or project '{package}'" if package else "")


def _relation(entry: Entry, name: str) -> str:
    return ".".join(f'"{part}"' for part in (entry["database"], entry["schema"], entry[name]))


def _identity(package: _Package, kind: str, name: str, unique_id: str, file: str) -> Entry:
    return {
        "name": name,
        "resource_type": kind,
        "package_name": package.name,
        "original_file_path": file,
        "unique_id": unique_id,
    }


def _of_config(config: dict[str, Any], tags: list[str] | None = None) -> Entry:
    all_tags = list(dict.fromkeys([*(tags or []), *config["tags"]]))
    return {"config": config, "tags": all_tags, "meta": config["meta"], "group": config.get("group")}


def _config(package: _Package, properties: Mapping[str, Any]) -> dict[str, Any]:
    found = package.scope.rendered(properties.get("config") or {})
    return found if isinstance(found, dict) else {}
