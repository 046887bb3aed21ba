"""The nodes on which a command works: those that the files of the project give, in the order of their references."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .command_line import Invocation
from .script import SELECTING, Script, ScriptError, node_name

# Kind -> the folders of its files as dbt_project.yml names them, by default, and their endings.
_FOLDERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "model": ("model-paths", "models", (".sql", ".py")),
    "snapshot": ("snapshot-paths", "snapshots", (".sql",)),
    "seed": ("seed-paths", "seeds", (".csv",)),
    "test": ("test-paths", "tests", (".sql",)),
}
_KINDS = {
    "run": ("model",),
    "seed": ("seed",),
    "snapshot": ("snapshot",),
    "test": ("test", "unit_test"),
    "source freshness": ("source",),
    **dict.fromkeys(
        ("ls", "list"),
        (*_FOLDERS, "unit_test", "source", "exposure", "metric", "saved_query", "semantic_model"),
    ),
    "build": ("model", "snapshot", "seed", "test", "unit_test"),
}
LISTED = (
    "alias",
    "config",
    "depends_on",
    "direct_parents",
    "name",
    "original_file_path",
    "package_name",
    "resource_type",
    "source_name",
    "tags",
    "unique_id",
)
"""What ``dbt ls --output json`` shows of a node without ``--output-keys``."""
_WITH_METHOD = ("source", "unit_test", "exposure", "metric", "saved_query", "semantic_model")
"""Kinds that dbt lists with their names in front, as a selection has them."""
_REFERENCE = re.compile(r"""\bref\(\s*(?:['"]\w+['"]\s*,\s*)?['"](\w+)['"]""")
_MATERIALIZED = re.compile(r"""materialized\s*=\s*['"](\w+)['"]""")
_TAGS = re.compile(r"""\btags\s*=\s*(\[[^]]*\]|['"][^'"]*['"])""")
_SNAPSHOT = re.compile(r"{%-?\s*snapshot\s+(\w+)")


class Node(NamedTuple):
    """One node of the project: a file, or one that the script adds.

    :param kind: ``model``, ``seed``, ``snapshot``, ``test``, ``unit_test`` or ``source``.
    :param package: the name of the project.
    :param name: the name of the node.
    :param unique_id: the unique id: ``model.shop.orders``.
    :param path: the path of the file, relative to the project.
    :param fqn: the fully qualified name.
    :param materialized: the materialization, such as ``view``.
    :param references: the names in its calls of ``ref()``.
    :param tags: its tags.
    :param checksum: the checksum; always empty.
    :param depends_on: unique ids of the nodes that it reads.
    :param code: the text of its file; of a seed and of a node that the script adds, none.
    :param schema: the schema of its table or view.
    :param entry: what a manifest of dbt has of it; empty where no dbt has made one.
    """

    kind: str
    package: str
    name: str
    unique_id: str
    path: str
    fqn: tuple[str, ...]
    materialized: str
    references: tuple[str, ...]
    tags: tuple[str, ...]
    checksum: str
    depends_on: tuple[str, ...] = ()
    code: str = ""
    schema: str = "main"
    entry: dict[str, Any] = {}  # noqa: RUF012 - it is never changed

    @property
    def label(self) -> str:
        """The name of the node in the log: ``sql view model main.orders``."""
        language = "python" if self.path.endswith(".py") else "sql"
        return {
            "model": f"{language} {self.materialized} model {self.schema}.{self.name}",
            "seed": f"seed file {self.schema}.{self.name}",
            "snapshot": f"snapshot {self.schema}.{self.name}",
            "source": f"freshness of {'.'.join(self.unique_id.split('.')[2:])}",
            "unit_test": f"unit_test {self.name}",
        }.get(self.kind, f"{self.kind} {self.name}")

    @property
    def noun(self) -> str:
        """The word by which nodes are counted: ``view model``."""
        nouns = {"model": f"{self.materialized} model", "test": "data test", "unit_test": "unit test"}
        return nouns.get(self.kind, self.kind)

    @property
    def selector(self) -> str:
        """The node as ``dbt ls`` lists it, such as ``shop.orders`` or ``source:shop.raw.orders``."""
        if self.kind not in _WITH_METHOD:
            return ".".join(self.fqn)
        words = [self.name] if self.kind != "source" else self.unique_id.split(".")[2:]
        return f"{self.kind}:{'.'.join((self.package, *words))}"

    @property
    def search_name(self) -> str:
        """The node as ``dbt ls --output name`` lists it."""
        return ".".join(self.unique_id.split(".")[2:]) if self.kind == "source" else self.name

    def as_dict(self) -> dict[str, Any]:
        """Return the node as ``dbt ls --output json`` shows it, and what it would show with other keys."""
        if self.entry:
            return dict(self.entry)
        return {
            "name": self.name,
            "resource_type": self.kind,
            "package_name": self.package,
            "original_file_path": self.path,
            "unique_id": self.unique_id,
            "alias": self.name,
            "config": {"enabled": True, "materialized": self.materialized, "tags": list(self.tags), "meta": {}},
            "tags": list(self.tags),
            # A seed depends on no node, and dbt leaves the key out.
            "depends_on": {"macros": [], **({} if self.kind == "seed" else {"nodes": list(self.depends_on)})},
        }


class Project:
    """The dbt project in a folder, as far as its files tell without YAML and Jinja.

    ``nodes`` are those of its files, ``added`` those that only the script knows.

    :param folder: the folder of the project, with its ``dbt_project.yml``.
    :param scripted: unique ids and names for which the script says something. An id that no file gives is added.
    """

    def __init__(self, folder: Path, scripted: Iterable[str] = ()) -> None:
        self.folder = folder
        self._settings = (folder / "dbt_project.yml").read_text(encoding="utf-8")
        named = re.search(r"^name:\s*['\"]?(\w+)", self._settings, re.MULTILINE)
        self.name = named.group(1) if named else folder.name
        self.nodes = _in_order([node for kind in _FOLDERS for node in self._read(kind)])
        known = {node.unique_id for node in self.nodes}
        added = [_from_id(each) for each in scripted if is_unique_id(each) and each not in known]
        self.added = [node._replace(depends_on=tuple(self._tested_by(node))) for node in added]
        self._all = [*self.nodes, *self.added]

    def work(self, invocation: Invocation, *, with_added: bool) -> list[Node]:
        """Return the nodes on which a command works.

        :param invocation: the command line.
        :param with_added: whether nodes that the script has added belong to it, whatever is selected.
        """
        kinds = _kinds(invocation)
        chosen = self._chosen(invocation, always=self.added if with_added else ())
        return [node for node in self._all if node.kind in kinds and node.unique_id in chosen]

    def named(self, name: str) -> list[Node]:
        """Return the nodes that a script means by a name.

        :param name: a name or unique id.
        """
        return [node for node in self._all if name in (node.unique_id, node.unique_id.split(".")[2])]

    def check_script(self, script: Script, refusal_of: Callable[[str, str, str], str | None]) -> None:
        """Refuse a script that cannot be in this project.

        :param script: the rule of the test for this call.
        :param refusal_of: name, kind and status of a node -> why it cannot end so; None where it can.
        :raises ScriptError: it names what the project does not have, or gives a status that dbt does not.
        """
        for name, outcome in script.nodes.items():
            kinds = [node.kind for node in self.named(name)]
            if not kinds:
                raise ScriptError(self._unknown_name_message(f"nodes={{{name!r}: ...}}"))
            refusals = [refusal_of(name, kind, outcome["status"]) for kind in kinds]
            if None not in refusals:
                raise ScriptError(str(refusals[0]))
        for parameter, place in (("at", script.at), ("after", script.after)):
            if place is not None and not self.named(place):
                raise ScriptError(self._unknown_name_message(f"{parameter}={place!r}"))

    def unmatched(self, invocation: Invocation) -> list[str]:
        """Return the criteria of the selection that no node meets.

        :param invocation: the command line.
        """
        return [word for word in _words(invocation, *SELECTING) if not self._matching(word)]

    def _unknown_name_message(self, given: str) -> str:
        there = ", ".join(node.name for node in self.nodes) or "none"
        return (
            f"{given}: no file of the project {self.name!r} is a node of this name. There are: {there}. What only "
            "YAML tells goes by its unique id, and is added by nodes={'test.shop.unique_orders_id.1a2b': 'pass'}."
        )

    def _chosen(self, invocation: Invocation, always: Iterable[Node]) -> set[str]:
        everything = {node.unique_id for node in self._all}
        selected = _words(invocation, *SELECTING)
        excluded = _words(invocation, "--exclude")
        chosen = set().union(*(self._matching(word) for word in selected)) if selected else everything
        return chosen.union(node.unique_id for node in always).difference(*map(self._matching, excluded))

    def _matching(self, criterion: str) -> set[str]:
        parts = [self._matching_one(part) for part in criterion.split(",")]
        return parts[0].intersection(*parts[1:])

    def _matching_one(self, criterion: str) -> set[str]:
        plain = criterion.strip("+@")
        found = {node.unique_id for node in self._all if self._is_meant(node, plain)}
        if criterion.startswith(("+", "@")):
            found |= self.reached(found, {node.unique_id: node.depends_on for node in self.nodes})
        if criterion.endswith("+") or criterion.startswith("@"):
            below = {
                each.unique_id: [n.unique_id for n in self.nodes if each.unique_id in n.depends_on]
                for each in self.nodes
            }
            found |= self.reached(found, below)
        return found | self._tests_of(found)

    def _is_meant(self, node: Node, criterion: str) -> bool:
        """Whether one criterion names the node. A method that only YAML could answer names every node."""
        return is_meant(node, criterion)

    def _tests_of(self, chosen: set[str]) -> set[str]:
        """Return the added tests of nodes."""
        return {node.unique_id for node in self.added if chosen.intersection(node.depends_on)}

    def _tested_by(self, test: Node) -> Iterator[str]:
        """Yield the nodes that an added test tests, by the name that dbt would have given it: ``unique_orders_id``."""
        if test.kind not in ("test", "unit_test"):
            return
        named = [node for node in self.nodes if node.kind != "test" and f"_{node.name}_" in f"_{test.name}_"]
        for node in named:
            # unique_stg_orders_id is of stg_orders, though there may be a model orders too.
            if not any(f"_{node.name}_" in f"_{other.name}_" for other in named if other is not node):
                yield node.unique_id

    @staticmethod
    def reached(start: set[str], edges: dict[str, Any]) -> set[str]:
        """Return the nodes to which edges lead from some nodes, over any number of them.

        :param start: unique ids.
        :param edges: unique id -> unique ids.
        """
        reached: set[str] = set()
        todo = list(start)
        while todo:
            new = set(edges.get(todo.pop(), ())) - reached
            reached |= new
            todo += new
        return reached

    def _read(self, kind: str) -> list[Node]:
        key, default, endings = _FOLDERS[kind]
        found = re.search(rf"^{key}:\s*\[(.*)\]", self._settings, re.MULTILINE)
        folders = [each.strip(" '\"") for each in found.group(1).split(",")] if found else [default]
        return [
            self._node(kind, file, folder)
            for folder in folders
            for file in sorted((self.folder / folder).rglob("*"))
            if file.suffix in endings and "generic" not in file.parts
        ]

    def _node(self, kind: str, file: Path, folder: str) -> Node:
        text = "" if kind == "seed" else file.read_text(encoding="utf-8", errors="replace")
        named = _SNAPSHOT.search(text) if kind == "snapshot" else None
        name = named.group(1) if named else file.stem
        materialized = _MATERIALIZED.search(text)
        default = {"model": "table" if file.suffix == ".py" else "view"}.get(kind, kind)
        tags = _TAGS.search(text)
        inner = file.parent.relative_to(self.folder / folder).parts
        return Node(
            kind=kind,
            package=self.name,
            name=name,
            unique_id=f"{kind}.{self.name}.{name}",
            path=file.relative_to(self.folder).as_posix(),
            fqn=(self.name, *inner, *((file.stem,) if kind == "snapshot" else ()), name),
            materialized=materialized.group(1) if materialized else default,
            references=tuple(dict.fromkeys(_REFERENCE.findall(text))),
            tags=tuple(re.findall(r"['\"]([^'\"]+)['\"]", tags.group(1))) if tags else (),
            checksum="",
            code=text.strip(),
        )


def is_unique_id(name: str) -> bool:
    """Whether a name is spelled as a unique id: ``model.shop.orders``.

    :param name: the name.
    """
    return name.count(".") >= 2


def _kinds(invocation: Invocation) -> set[str]:
    """The kinds of nodes that the command works on, as far as its options let it."""
    kinds = set(_KINDS.get(invocation.command.replace("snapshot-", ""), (*_FOLDERS, "unit_test")))
    wanted = set(_words(invocation, "--resource-type", "--resource-types"))
    if wanted and not wanted.intersection(("all", "default")):
        kinds &= wanted
    return kinds.difference(_words(invocation, "--exclude-resource-type", "--exclude-resource-types"))


def _words(invocation: Invocation, *names: str) -> list[str]:
    return [word for value in invocation.all(*names) for word in value.split()]


def _in_order(nodes: list[Node]) -> list[Node]:
    """Sort each node after those that it refers to; among equals by name, as one thread of dbt takes them."""
    ids = {node.name: node.unique_id for node in nodes if node.kind != "test"}
    rest = [
        node._replace(depends_on=tuple(ids[name] for name in node.references if name in ids))
        for node in sorted(nodes, key=lambda node: node.unique_id)
    ]
    done: list[Node] = []
    while rest:
        waiting = {node.unique_id for node in rest}
        ready = [node for node in rest if not waiting.intersection(node.depends_on)] or rest  # a circle: as they come
        done += ready
        rest = [node for node in rest if node not in ready]
    return done


def _from_id(unique_id: str) -> Node:
    kind, package, *words = unique_id.split(".")
    name = words[-1] if kind == "source" else words[0]
    path = "models/schema.yml" if kind in ("test", "unit_test", "source") else f"{kind}s/{name}.sql"
    return Node(
        kind, package, name, unique_id, path, (package, *words), "view" if kind == "model" else kind, (), (), ""
    )


def is_meant(node: Node, criterion: str) -> bool:
    """Whether one criterion names the node. A method that only YAML could answer names every node.

    :param node: the node.
    :param criterion: a word of a selection, without its graph operators.
    """
    method, colon, value = criterion.partition(":")
    if colon and method == "tag":
        return value in node.tags
    if colon and method == "resource_type":
        return node.kind == value
    if colon and method == "package":
        return node.package == value
    if colon and method == "file":
        return value in (os.path.basename(node.path), os.path.splitext(os.path.basename(node.path))[0])  # noqa: PTH119, PTH122
    if colon and method == "path":
        return node.path == value or node.path.startswith(value.rstrip("/") + "/")
    if colon and method not in ("fqn",):
        return True
    plain = value if colon else method
    if "/" in plain:
        return os.path.normpath(plain) == node.path or node.path.startswith(os.path.normpath(plain) + "/")
    return plain in ("*", node.name, node.unique_id, node_name(node.name)) or _is_fqn(node.fqn, plain.split("."))


def _is_fqn(fqn: tuple[str, ...], words: list[str]) -> bool:
    words = words[:-1] if words[-1] == "*" else words
    return words == list(fqn[: len(words)]) or words == list(fqn[1 : len(words) + 1])
