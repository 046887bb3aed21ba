"""The resources of a made-up project, and the files in which they stand.

A resource is one thing that dbt will find there. The YAML files and dbt's own two files are written here too; all other
texts are the test author's own words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse

REFABLE = ("model", "seed", "snapshot")
"""The kinds that ``ref()`` finds; their names are one set."""
FOLDERS = {
    "analysis": "analyses",
    "macro": "macros",
    "model": "models",
    "seed": "seeds",
    "snapshot": "snapshots",
    "test": "tests",
}
"""Kind of a thing with a file of its own -> the folder in which dbt looks for it."""
YAML_KEYS = {
    "exposure": "exposures",
    "group": "groups",
    "model": "models",
    "seed": "seeds",
    "snapshot": "snapshots",
    "source": "sources",
    "unit_test": "unit_tests",
}
"""Kind -> the key under which it stands in a YAML file."""


_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
# A large project has more names than anybody wants to read in an error.
_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One thing of a project.

    :param kind: the kind as dbt calls it: ``model``, ``unit_test``, …; ``macro`` stands for a file of macros.
    :param name: the name without folders and without a version.
    :param file: path relative to the project; the YAML file of a thing that has no other.
    :param text: the content of that file, for things that are not YAML.
    :param properties: what YAML says about the thing; empty where it says nothing.
    :param properties_file: path relative to the project; None without properties.
    :param version: the version of a versioned model, whose versions share name and properties; None for all others.
    """

    kind: str
    name: str
    file: PurePosixPath
    text: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)
    properties_file: PurePosixPath | None = None
    version: int | str | None = None

    @property
    def title(self) -> str:
        """The name as an error shows it, with the version behind it."""
        return self.name if self.version is None else f"{self.name}.v{self.version}"


def yaml_text(document: Mapping[str, Any]) -> str:
    """Return the text of a YAML file: keys in the order given, characters as they are.

    :param document: the content; tuples and paths may be among it.
    """
    import yaml

    return str(yaml.safe_dump(_plain(document), sort_keys=False, allow_unicode=True))


def yaml_document(resource: Resource) -> dict[str, Any]:
    """Return the content of the YAML file of one resource.

    :param resource: a resource with properties, of a kind in ``YAML_KEYS``.
    """
    named = {"name": resource.name, **resource.properties}
    return {"version": 2, YAML_KEYS[resource.kind]: [_plain(named)]}


def project_text(name: str, variables: Mapping[str, Any], configurations: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of ``dbt_project.yml``.

    :param name: the name of the project and of its profile.
    :param variables: the ``vars`` of the project; empty: the file has none.
    :param configurations: kind and folder (``models/staging``) -> configuration of all that lies there.
    """
    document: dict[str, Any] = {
        "name": name,
        "version": "1.0",
        "config-version": 2,
        "profile": name,
        "flags": {"send_anonymous_usage_stats": False},
    }
    if variables:
        document["vars"] = dict(variables)
    for folder, config in configurations.items():
        kind, *below = folder.split("/")
        place = document.setdefault(kind, {}).setdefault(name, {})
        for part in below:
            place = place.setdefault(part, {})
        place.update({f"+{key}": value for key, value in config.items()})
    return yaml_text(document)


def _plain(value: Any) -> Any:
    """Tuples and paths as YAML has them."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


@dataclass(kw_only=True)
class ProjectStore:
    """The resources of one project, each written to the disk as it is added.

    :param project: the name of the project, for errors.
    :param path: the folder of the project.
    :param is_on_disk: whether files are written at all.
    :param things: family of names and name -> the resource; a versioned model is several resources.
    """

    project: str
    path: Path
    is_on_disk: bool = True
    things: dict[tuple[str, str], list[Resource]] = field(default_factory=dict)

    @property
    def resources(self) -> list[Resource]:
        """All resources, in the order in which they were added."""
        return [resource for resources in self.things.values() for resource in resources]

    def add(
        self,
        kind: str,
        name: str,
        texts: Mapping[Any, str],
        *,
        suffix: str = ".sql",
        properties: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a resource with a file of its own.

        :param kind: a key of ``FOLDERS``.
        :param name: the name, with folders before it: ``marts/core/fct``.
        :param texts: version -> text; the text of a thing without versions stands under None.
        :param suffix: the ending of the file, with its dot.
        :param properties: what YAML says about it; None or empty: no YAML file is written.
        :raises ToolkitMisuse: the name is taken, or it is no name.
        """
        *folders, last = name.split("/")
        for part in (*folders, last):
            check_name(kind, part)
        folder = PurePosixPath(FOLDERS[kind], *folders)
        self._keep(
            [
                Resource(
                    kind=kind,
                    name=last,
                    file=folder / f"{last if version is None else f'{last}_v{version}'}{suffix}",
                    text=text,
                    properties=properties or {},
                    properties_file=folder / f"{last}.yml" if properties else None,
                    version=version,
                )
                for version, text in texts.items()
            ]
        )

    def add_in_yaml(self, kind: str, name: str, properties: Mapping[str, Any]) -> None:
        """Add a resource that stands in YAML alone.

        :param kind: a key of ``YAML_KEYS``.
        :param name: the name, without folders.
        :param properties: what YAML says about it, without the name.
        :raises ToolkitMisuse: the name is taken, or it is no name.
        """
        check_name(kind, name)
        file = PurePosixPath("models", f"_{name}__{kind}.yml")
        self._keep([Resource(kind=kind, name=name, file=file, properties=properties, properties_file=file)])

    def find(self, name: str) -> Resource:
        """Return the resource of a name; a model, seed or snapshot is preferred to all others.

        :param name: the name; one version of a model is ``dim_piers.v1``.
        :raises ToolkitMisuse: there is none, or there are several.
        """
        return self._only(name, [resource for resource in self._named(name) if resource.title == name])

    def edit(self, name: str, text: str) -> None:
        """Replace the text of a thing.

        :param name: the name, as for ``find``.
        :param text: the new content of its file.
        :raises ToolkitMisuse: there is none or there are several, or the resource has no text.
        """
        found = [resource for resource in self._named(name) if resource.title == name]
        old = self._only(name, [resource for resource in found if resource.kind in FOLDERS] or found)
        if old.kind not in FOLDERS:
            raise ToolkitMisuse(f"{name!r} is a {old.kind}, which has no text: delete({name!r}) and add it anew.")
        new = replace(old, text=text)
        key = (_family(old.kind), old.name)
        self.things[key] = [new if one is old else one for one in self.things[key]]
        self._write(new.file, text)

    def delete(self, name: str) -> None:
        """Take a resource out, with its files and all its versions.

        :param name: the name, without a version.
        :raises ToolkitMisuse: there is none, there are several, or a version was named.
        """
        found = self._named(name)
        stem = name.partition(".")[0]
        if name != stem and found:
            raise ToolkitMisuse(f"{name!r} is a version, and versions go together: delete({stem!r}) takes all out.")
        first = self._only(name, list({_family(one.kind): one for one in found}.values()))
        for resource in self.things.pop((_family(first.kind), name)):
            for file in (resource.file, resource.properties_file):
                if file is not None:
                    (self.path / file).unlink(missing_ok=True)

    def _named(self, name: str) -> list[Resource]:
        """All of that name, or of that name before the version: nodes, or what else there is."""
        stem = name.partition(".")[0]
        nodes = self.things.get((_family("model"), stem))
        return nodes or [one for (_, known), resources in self.things.items() if known == stem for one in resources]

    def _only(self, name: str, found: list[Resource]) -> Resource:
        if not found:
            raise ToolkitMisuse(f"There is no {name!r} in project {self.project!r}{self._there_is}.")
        if len(found) > 1:
            kinds = " and a ".join(resource.kind for resource in found)
            raise ToolkitMisuse(
                f"There is a {kinds} {name!r} in project {self.project!r}: which one is meant? Give each its own name."
            )
        return found[0]

    def _keep(self, resources: list[Resource]) -> None:
        first = resources[0]
        key = (_family(first.kind), first.name)
        if key in self.things:
            other = self.things[key][0]
            raise ToolkitMisuse(
                f"There is a {other.kind} {other.name!r} in project {self.project!r} already ({other.file}): "
                f"edit({other.title!r}, …) changes its text, delete({other.name!r}) takes it out."
            )
        self.things[key] = resources
        if self.is_on_disk:
            for resource in resources:
                self._write(resource.file, resource.text)
            if first.properties_file is not None:
                self._write(first.properties_file, yaml_text(yaml_document(first)))

    def _write(self, file: PurePosixPath, text: str) -> None:
        if self.is_on_disk:
            path = self.path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not as text, which would change the line endings that the test chose.
            path.write_bytes(text.encode("utf-8"))

    @property
    def _there_is(self) -> str:
        names = [resource.title for resource in self.resources]
        more = ", …" if names[_NAMED:] else ""
        return f": there is {', '.join(names[:_NAMED])}{more}" if names else ", which is empty"


def check_name(kind: str, name: object) -> None:
    """Refuse a name that dbt would not take, or that the readers of its artifacts would not understand.

    :param kind: the kind of the thing that is to have the name, for the error.
    :param name: the name, without folders.
    :raises ToolkitMisuse: it is no name.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ToolkitMisuse(
            f"{name!r} is no name for a {kind}: letters, digits and underscores, beginning with no digit "
            "(folders go before it: 'marts/core/fct')."
        )


def _family(kind: str) -> str:
    """Return the set of names to which a kind belongs."""
    return "node" if kind in REFABLE else kind
