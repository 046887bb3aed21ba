"""The nodes of a dbt project as its SQL, CSV, Python and YAML files give them, and as ``dbt ls`` lists them.

Nothing is rendered and no dbt is asked. What cannot be read so stands in ``ProjectFiles.unread``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from .code_reader import Reading, Scope
from .configs import OF_TESTS, id_hash, merged_config, node_config, synthesized_names, test_config
from .packages import Packages

Entry = dict[str, Any]
"""What a manifest says of one node."""
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
_SNAPSHOT = re.compile(r"{%-?\s*snapshot\s+(\w+).*?%}(.*?){%-?\s*endsnapshot\s*-?%}", re.DOTALL)
_MACRO = re.compile(r"{%-?\s*macro\s+(\w+).*?{%-?\s*endmacro\s*-?%}", re.DOTALL)
_NO_ARGUMENTS = (*OF_TESTS, "arguments", "column_name", "config", "description", "name", "test_name")
_TARGET = {"name": "dev", "schema": "main", "database": "dev", "profile_name": "dev", "type": ""}


class _Package(NamedTuple):
    """A folder with a ``dbt_project.yml``, and what stands in it."""

    folder: Path
    name: str
    settings: dict[str, Any]
    scope: Scope


class _Described(NamedTuple):
    """One thing in a YAML file: its properties, the file, and the folders between the kind's folder and the file."""

    properties: dict[str, Any]
    file: str
    folders: tuple[str, ...]


class _Tested(NamedTuple):
    """A thing that has generic tests.

    :param label: its name in names of tests.
    :param reference: the words by which its tests read it.
    :param entry: its entry; None for a source.
    """

    label: str
    reference: str
    entry: Entry | None


def load_yaml(text: str) -> Any:
    """Return the content of a YAML file; None where it is none.

    :param text: the text of the file.
    """
    try:
        module = import_module(f"{__package__}.yaml.loader")
    except ImportError:  # here, where it is not copied
        module = import_module("yaml")
    loader = module.SafeLoader(text)
    try:
        return loader.get_single_data()
    except Exception:  # noqa: BLE001 - the copy's errors are not those of yaml
        return None
    finally:
        loader.dispose()


class Files:
    """The files of a project, as they lie on the disk."""

    def __init__(self) -> None:
        self._below: dict[Path, list[Path]] = {}

    def below(self, folder: Path) -> list[Path]:
        """Return all files below a folder, sorted; none where there is no such folder.

        :param folder: the folder.
        """
        if folder not in self._below:
            self._below[folder] = sorted(file for file in folder.rglob("*") if file.is_file())
        return self._below[folder]

    def text(self, file: Path) -> str:
        """Return the text of a file, with its line endings.

        :param file: the file.
        """
        return file.read_bytes().decode("utf-8", "replace")

    def document(self, file: Path) -> Any:
        """Return what a file of YAML holds; None where it holds none, ``""`` where it is empty.

        :param file: the file.
        """
        text = self.text(file)
        return load_yaml(text) if text.strip() else ""


class ProjectFiles:
    """The project in a folder.

    ``entries`` are its enabled nodes by unique id, ``all`` the others too, ``name`` is the name of the project, and
    ``missing`` the unique ids of nodes with what each of them reads that is not there, in its words.

    :param folder: the folder of the project, with its ``dbt_project.yml``.
    :param variables: the values of ``--vars``.
    :param target: what ``target`` is in its texts; of what is not given there are defaults.
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
        self.missing: list[tuple[str, str]] = []
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
        described = [(package, self._described(package)) for package in self._packages]
        for package, found in described:
            self._read_nodes(package, found)
        for package, found in described:
            self._read_yaml_nodes(package, found)
        for unique_id, (reading, home) in self._readings.items():
            self.all[unique_id]["depends_on"] = self._depends_on(unique_id, reading, home)
        self.entries = {name: entry for name, entry in self.all.items() if self._is_enabled(entry)}

    def _is_enabled(self, entry: Entry) -> bool:
        parents = (
            entry.get("depends_on", {}).get("nodes", []) if entry["resource_type"] in ("test", "unit_test") else []
        )
        config = entry["config"].get("enabled", True)
        return bool(config) and all(self.all[each]["config"].get("enabled", True) for each in parents)

    def _package(self, folder: Path) -> _Package:
        settings = load_yaml((folder / "dbt_project.yml").read_text(encoding="utf-8"))  # on the disk in any case
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

    def _described(self, package: _Package) -> dict[str, list[_Described]]:
        found: dict[str, list[_Described]] = {section: [] for section in _SECTIONS}
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
                found[section] += [_Described(each, path, folders) for each in named]
        return found

    # Files

    def _read_nodes(self, package: _Package, described: dict[str, list[_Described]]) -> None:
        for kind in ("seed", "model", "snapshot", "test", "analysis"):
            section = ["data_tests", "tests"] if kind == "test" else [f"{kind}s"]
            known = {each.properties["name"]: each for key in section for each in described.get(key, ())}
            versions = dict(_versions(known)) if kind == "model" else {}
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
        described: _Described | None,
        version: Any = None,
    ) -> None:
        """Add the node of a file, or of a snapshot in YAML."""
        properties = described.properties if described else {}
        is_python = file.suffix == ".py"
        # The macros of the project can be called from everywhere, and those of the package are nearer.
        macros = {**self._macros, "": {**self._macros[self.name], **self._macros[package.name]}}
        reading = Reading(package.scope, macros)
        reading = reading.read_python(text) if is_python else reading.read(text)
        below = () if version is None else (f"v{version}",)
        # Its configurations are those of models.
        own_folder, section = (("analysis",), "models") if kind == "analysis" else ((), f"{kind}s")
        fqn = [package.name, *own_folder, *folders, name, *below]
        unique_id = ".".join((kind, package.name, name, *below))
        said = {**_at_top(properties, "access", "group"), **_config(package, properties)}
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
            "columns": _columns(properties),
            "patch_path": described and f"{package.name}://{described.file}",
            "raw_code": text.strip(),
            "checksum": checksum(text),
        }
        if kind == "model":
            latest = _latest(properties) if version is not None else None
            self.all[unique_id] |= {"version": version, "latest_version": latest, "access": config["access"]}
        if kind != "seed":
            self.all[unique_id]["language"] = "python" if is_python else "sql"
            self._readings[unique_id] = (reading, package.name)
            self.unread += [f"{each} in {path.as_posix()}" for each in reading.unread]
        if kind in REFABLE:
            if config["materialized"] != "ephemeral":
                self.all[unique_id]["relation_name"] = _relation(self.all[unique_id], "alias")
            self._named[package.name, name, "" if version is None else str(version)] = unique_id
            if version is not None and str(version) == str(_latest(properties)):
                self._named[package.name, name, ""] = unique_id

    def _place(self, config: Mapping[str, Any], alone: Any = None) -> Entry:
        """Return database and schema; dbt puts a configured schema behind that of the target."""
        schema = alone or "_".join(filter(None, (self._target["schema"], config["schema"])))
        return {"database": config["database"] or self._target["database"], "schema": schema}

    def _of_folders(self, package: _Package, section: str, fqn: list[str]) -> Iterator[dict[str, Any]]:
        """Yield what ``dbt_project.yml`` says of a node, the farthest first; the project itself goes over a package."""
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

    def _read_yaml_nodes(self, package: _Package, described: dict[str, list[_Described]]) -> None:
        for kind in REFABLE:
            for each in described[f"{kind}s"]:
                self._read_tests_of_node(package, kind, each)
        for each in described["sources"]:
            for table in each.properties.get("tables") or ():
                self._add_source(package, each, table)
        for each in described["exposures"]:
            self._add_exposure(package, each)
        for each in described["unit_tests"]:
            self._add_unit_test(package, each)

    def _read_tests_of_node(self, package: _Package, kind: str, described: _Described) -> None:
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
            self._add_tests(package, described, tested, {**properties, **_tests_of_version(properties, each)}, [])

    def _add_tests(
        self, package: _Package, described: _Described, tested: _Tested, properties: Mapping[str, Any], tags: list[str]
    ) -> None:
        for test in _tests(properties):
            self._add_test(package, described, tested, test, None, tags)
        for column in properties.get("columns") or ():
            if isinstance(column, dict) and "name" in column:
                name = f'"{column["name"]}"' if column.get("quote") else str(column["name"])
                column_tags = [*_listed(column.get("tags")), *_listed((column.get("config") or {}).get("tags"))]
                for test in _tests(column):
                    self._add_test(package, described, tested, test, name, [*tags, *column_tags])

    def _add_test(
        self, package: _Package, described: _Described, tested: _Tested, test: Any, column: str | None, tags: list[str]
    ) -> None:
        called, given = _name_and_given(test)
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

    def _add_source(self, package: _Package, described: _Described, table: dict[str, Any]) -> None:
        source = described.properties
        name = source["name"]
        unique_id = f"source.{package.name}.{name}.{table['name']}"
        fqn = [package.name, *described.folders, name, table["name"]]
        said = [_config(package, source), _config(package, table)]
        config: dict[str, Any] = {"enabled": True, "event_time": None}
        for nearer in (*self._of_folders(package, "sources", fqn), *said):
            config.update(nearer)
        own_tags = [*_listed(source.get("tags")), *_listed(table.get("tags"))]
        tags = {*own_tags, *(tag for each in said for tag in _listed(each.get("tags")))}
        config["tags"] = sorted(tags) or _listed(config.get("tags"))
        places = (source, said[0], table, said[1])
        config["meta"] = {key: each["meta"][key] for each in places for key in each.get("meta") or ()}
        config["freshness"] = _freshness(places)
        for key in ("loaded_at_field", "loaded_at_query"):
            given = [each[key] for each in (*said, source, table) if each.get(key)]
            config[key] = given[-1] if given else None
        self.all[unique_id] = {
            **_identity(package, "source", table["name"], unique_id, described.file),
            "path": described.file,
            "fqn": fqn,
            "source_name": name,
            "database": source.get("database") or self._target["database"],
            "schema": package.scope.rendered(source.get("schema") or name),
            "identifier": table.get("identifier") or table["name"],
            **{key: config[key] for key in ("freshness", "loaded_at_field", "loaded_at_query")},
            "config": config,
            "tags": config["tags"],
            "meta": config["meta"],
            "description": table.get("description") or "",
            "source_description": source.get("description") or "",
            "columns": _columns(table),
            "loader": "",
            "patch_path": None,
        }
        self.all[unique_id]["relation_name"] = _relation(self.all[unique_id], "identifier")
        self._named[package.name, name, f"source {table['name']}"] = unique_id
        tested = _Tested(
            label=f"{name}_{table['name']}",
            reference=f"source('{name}', '{table['name']}')",
            entry=None,
        )
        self._add_tests(package, described, tested, table, own_tags)

    def _add_exposure(self, package: _Package, described: _Described) -> None:
        exposure = described.properties
        unique_id = f"exposure.{package.name}.{exposure['name']}"
        fqn = [package.name, *described.folders, exposure["name"]]
        config: dict[str, Any] = {"enabled": True, "tags": [], "meta": {}}
        said = _config(package, exposure)
        for nearer in (*self._of_folders(package, "exposures", fqn), said, _at_top(exposure, "tags", "meta")):
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

    def _add_unit_test(self, package: _Package, described: _Described) -> None:
        test = described.properties
        found = {
            key[2]: unique_id for key, unique_id in self._named.items() if key[:2] == (package.name, test.get("model"))
        }
        wanted = test.get("versions") or {}
        versions = [each for each in found if each and not each.startswith("source ")]
        versions = [each for each in versions if each in map(str, wanted.get("include") or versions)]
        versions = [each for each in versions if each not in map(str, wanted.get("exclude") or ())]
        for version in versions or [""]:
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
                # dbt gives it no tags of its own.
                "depends_on": {"macros": [], "nodes": [model["unique_id"]]},
                "schema": model["schema"],
                "version": model["version"],
            }

    # References

    def _depends_on(self, unique_id: str, reading: Reading, home: str) -> dict[str, list[str]]:
        names: dict[tuple[Any, ...], str | None] = {}
        for source, table in reading.sources:
            names[source, table] = self._find(source, f"source {table}", None, home)
        for package, name, version in reading.refs:
            names[package, name, version] = self._find(name, version, package, home)
        self.missing += [(unique_id, _call(each)) for each, found in names.items() if found is None]
        return {"macros": [], "nodes": list(dict.fromkeys(name for name in names.values() if name is not None))}

    def _find(self, name: str, version: Any, package: str | None, home: str) -> str | None:
        version = "" if version is None else str(version)
        # The root project before the node's own package, until dbt's require_ref_searches_node_package_before_root.
        places = [package] if package else [self.name, home, *(each.name for each in self._packages)]
        return next(
            (self._named[key] for key in ((each, name, version) for each in places) if key in self._named), None
        )


def checksum(text: str) -> dict[str, str]:
    """Return the checksum of a file in a manifest.

    :param text: the content of the file, which dbt strips.
    """
    return {"name": "sha256", "checksum": hashlib.sha256(text.strip().encode()).hexdigest()}


def _call(reads: tuple[Any, ...]) -> str:
    """Return what a text has called: ``ref('tides', 'gauges', v=2)``."""
    if len(reads) == 2:
        return f"source('{reads[0]}', '{reads[1]}')"
    package, name, version = reads
    words = [f"'{each}'" for each in (package, name) if each is not None]
    return f"ref({', '.join([*words, *([] if version is None else [f'v={version!r}'])])})"


def _columns(properties: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found = properties.get("columns") or ()
    return {each["name"]: {"name": each["name"]} for each in found if isinstance(each, dict) and "name" in each}


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


def _at_top(properties: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: properties[key] for key in keys if properties.get(key)}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def _tests(properties: Mapping[str, Any]) -> list[Any]:
    found = properties.get("data_tests", properties.get("tests"))
    return [each for each in found or () if isinstance(each, (str, dict)) and each]


def _name_and_given(test: str | dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name of a test and what stands below it, in each of the ways to write one."""
    if isinstance(test, str):
        return test, {}
    if "test_name" in test:
        return str(test["test_name"]), test
    name, given = next(iter(test.items()))
    # Its own keys may stand beside the name, not below it.
    return str(name), {**(given or {}), **{key: test[key] for key in test if key != name}}


def _versions(known: Mapping[str, _Described]) -> Iterator[tuple[str, tuple[str, Any, _Described]]]:
    """Yield for each version of a model the stem of its file, and name, version and properties with its own."""
    for name, each in known.items():
        for written in each.properties.get("versions") or ():
            version = written.get("v")
            config = merged_config(each.properties.get("config") or {}, written.get("config") or {})
            own = _Described({**each.properties, "config": config}, each.file, each.folders)
            stems = [written.get("defined_in") or f"{name}_v{version}"]
            stems += [name] if str(version) == str(_latest(each.properties)) else []
            yield from ((stem, (name, version, own)) for stem in stems)


def _latest(properties: Mapping[str, Any]) -> Any:
    versions = [each.get("v") for each in properties.get("versions") or ()]
    numbers = all(re.fullmatch(r"\d+(\.\d+)?", str(each)) for each in versions)
    return properties.get("latest_version") or max(versions, key=float if numbers else str, default=None)


def _tests_of_version(properties: Mapping[str, Any], version: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return tests and columns of one version where they are not those of all."""
    version = version or {}
    own = {key: version[key] for key in ("data_tests", "tests") if key in version}
    columns = version.get("columns")
    if columns is None:
        return own
    chosen: list[Any] = []
    for each in columns:
        if "include" in each:
            names = each["include"]
            left = each.get("exclude") or ()
            chosen += [
                column
                for column in properties.get("columns") or ()
                if (names in ("all", "*") or column["name"] in names) and column["name"] not in left
            ]
    named = [each for each in columns if "name" in each]
    replaced = {each["name"] for each in named}
    return {**own, "columns": [*(each for each in chosen if each["name"] not in replaced), *named]}


def _freshness(said: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the limits of a source, of which the nearer ones replace the farther; None where they are taken back."""
    unset = {"count": None, "period": None}
    merged: dict[str, Any] | None = {"warn_after": unset, "error_after": unset, "filter": None}
    for each in said:
        if "freshness" in each:
            given = each["freshness"]
            merged = None if given is None else {**(merged or {"warn_after": unset, "error_after": unset}), **given}
    return merged
