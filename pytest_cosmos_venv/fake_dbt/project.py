"""The nodes on which a command works: the selected nodes of the project's files, each after its parents."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from .command_line import Invocation
from .files import load_yaml
from .log import setting
from .project_files import Entry, ProjectFiles
from .script import SELECTING, Script, ScriptError

_KINDS = {
    "run": ("model",),
    "seed": ("seed",),
    "snapshot": ("snapshot",),
    "test": ("test", "unit_test"),
    "source freshness": ("source",),
    **dict.fromkeys(
        ("ls", "list"),
        (
            "model",
            "snapshot",
            "seed",
            "test",
            "unit_test",
            "source",
            "exposure",
            "metric",
            "saved_query",
            "semantic_model",
        ),
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
"""The keys of a node that ``dbt ls --output json`` prints without ``--output-keys``."""
_WITH_METHOD = ("source", "unit_test", "exposure", "metric", "saved_query", "semantic_model")
"""Kinds that dbt lists with their names in front, as a selection has them."""
_TESTS = ("test", "unit_test")
_SCRIPTED = ("model", "seed", "snapshot", "source", *_TESTS)
_CRITERION = re.compile(r"(@?)((?:\d*\+)?)(.*?)((?:\+\d*)?)")


class Node(NamedTuple):
    """One node of the project, from a file or added by the script.

    :param kind: ``model``, ``seed``, ``snapshot``, ``test``, ``unit_test`` or ``source``.
    :param package: the name of the project.
    :param name: the name of the node.
    :param unique_id: the unique id: ``model.shop.orders``.
    :param path: the path of the file, relative to the project.
    :param fqn: the fully qualified name.
    :param materialized: the materialization, such as ``view``.
    :param tags: its tags.
    :param checksum: the checksum of its file.
    :param depends_on: unique ids of the nodes that it reads.
    :param schema: the schema of its table or view.
    :param entry: its entry in a manifest.
    """

    kind: str
    package: str
    name: str
    unique_id: str
    path: str
    fqn: tuple[str, ...]
    materialized: str
    tags: tuple[str, ...]
    checksum: str
    depends_on: tuple[str, ...]
    schema: str
    entry: Entry

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


class Project:
    """A dbt project. ``all_nodes`` are the nodes of its files and the nodes that only the script knows.

    :param name: the name of the project.
    :param nodes: the nodes of its files.
    :param added: the nodes that only the script knows.
    :param unread: the parts that the fake cannot read.
    :param refusals: why dbt refuses the project, in its words.
    """

    def __init__(
        self,
        name: str,
        nodes: list[Node],
        added: Iterable[Node] = (),
        unread: Iterable[str] = (),
        refusals: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.nodes = nodes
        self.added = list(added)
        self.unread = list(unread)
        self.refusals = list(refusals)
        self.all_nodes = [*nodes, *self.added]

    def work(self, invocation: Invocation, *, with_added: bool) -> list[Node]:
        """Return the nodes on which a command works, in their order.

        :param invocation: the command line.
        :param with_added: whether nodes that the script has added always belong to the result.
        """
        kinds = _kinds(invocation)
        chosen = self._chosen(invocation, always=self.added if with_added else ())
        work = [node for node in self.all_nodes if node.kind in kinds and node.unique_id in chosen]
        if invocation.command.startswith("source "):
            return [node for node in work if self._has_freshness(node)]
        if invocation.command in ("ls", "list"):
            return work
        # dbt does not run an ephemeral model: it writes the model's code into its readers.
        work = [node for node in work if node.materialized != "ephemeral"]
        return in_order(self.with_edges_of_tests(work)) if invocation.command == "build" else work

    def _has_freshness(self, node: Node) -> bool:
        limits = node.entry.get("freshness") or {}
        # A script adds a source only to check its freshness.
        return node in self.added or any(
            (limits.get(name) or {}).get("count") for name in ("warn_after", "error_after")
        )

    def with_edges_of_tests(self, work: list[Node]) -> list[Node]:
        """Return nodes as ``dbt build`` has them: unit tests run before their model, and readers of a node wait for its
        tests.

        :param work: the nodes.
        """
        unit_tests = [node for node in work if node.kind == "unit_test"]
        tests = [node for node in work if node.kind == "test"]
        parents = {node.unique_id: node.depends_on for node in self.all_nodes}
        answer = []
        for node in work:
            if node.kind == "unit_test":
                above = tuple(each for model in node.depends_on for each in parents.get(model, ()))
                answer.append(node._replace(depends_on=above))
                continue
            first = [each.unique_id for each in unit_tests if node.unique_id in each.depends_on]
            if node.kind != "test":
                above_all = self.reached({node.unique_id}, parents)
                read = set(node.depends_on)
                first += [
                    test.unique_id
                    for test in tests
                    if above_all.issuperset(test.depends_on) and read.intersection(test.depends_on)
                ]
            answer.append(node._replace(depends_on=(*node.depends_on, *first)))
        return answer

    def named(self, name: str) -> list[Node]:
        """Return the nodes that a name in a script stands for.

        :param name: a name or unique id.
        """
        return [node for node in self.all_nodes if name in (node.unique_id, node.unique_id.split(".")[2])]

    def check_script(self, script: Script, refusal_of: Callable[[str, str, str], str | None]) -> None:
        """Refuse a script that does not fit this project.

        :param script: the rule of the test for this call.
        :param refusal_of: name, kind and status of a node -> why it cannot end with this status; None where it can.
        :raises ScriptError: it names something that the project lacks, or a status that dbt does not give.
        """
        for name, outcome in script.nodes.items():
            kinds = [node.kind for node in self.named(name) if node.kind in _SCRIPTED]
            if not kinds:
                raise ScriptError(self._unknown_name_message(f"nodes={{{name!r}: ...}}"))
            refusals = [refusal_of(name, kind, outcome["status"]) for kind in kinds]
            if None not in refusals:
                raise ScriptError(str(refusals[0]))
        for parameter, place in (("at", script.at), ("after", script.after)):
            if place is not None and not self.named(place):
                raise ScriptError(self._unknown_name_message(f"{parameter}={place!r}"))

    def unmatched(self, invocation: Invocation) -> list[str]:
        """Return the criteria of the selection that match no node.

        :param invocation: the command line.
        """
        return [word for word in invocation.words_of(*SELECTING) if not self._matching(word)[0]]

    def _unknown_name_message(self, given: str) -> str:
        there = ", ".join(node.name for node in self.nodes if node.kind in _SCRIPTED) or "none"
        return (
            f"{given}: the project {self.name!r} has no node of this name. There are: {there}. A node that the fake "
            "cannot know goes by its unique id, and is added by nodes={'test.shop.unique_orders_id.1a2b': 'pass'}."
        )

    def _chosen(self, invocation: Invocation, always: Iterable[Node]) -> set[str]:
        mode = invocation.last("--indirect-selection", default="eager")
        selected = invocation.words_of(*SELECTING)
        if selected:
            found = [self._matching(word, mode) for word in selected]
            direct, indirect = (set[str]().union(*sets) for sets in zip(*found, strict=True))
        else:
            direct, indirect = {node.unique_id for node in self.all_nodes}, set[str]()
        direct.update(node.unique_id for node in always)
        for word in invocation.words_of("--exclude"):
            not_direct, not_indirect = self._matching(word, mode)
            direct, indirect = direct - not_direct, indirect - not_indirect
        if mode in ("cautious", "buildable"):
            direct |= {each for each in indirect if self._is_covered(each, direct, mode)}
        return direct

    def _is_covered(self, test: str, chosen: set[str], mode: str) -> bool:
        """Whether a test reads chosen nodes only; in ``buildable`` mode their ancestors count as chosen too."""
        parents = {node.unique_id: node.depends_on for node in self.all_nodes}
        above = self.reached(chosen, parents) if mode == "buildable" else set()
        return (chosen | above).issuperset(parents[test])

    def _matching(self, criterion: str, mode: str = "eager") -> tuple[set[str], set[str]]:
        """Return the nodes of a criterion with their tests, and the tests that only the whole selection may include."""
        direct, indirect = zip(*(self._matching_one(part, mode) for part in criterion.split(",")), strict=True)
        return direct[0].intersection(*direct[1:]), indirect[0].intersection(*indirect[1:])

    def _matching_one(self, criterion: str, mode: str) -> tuple[set[str], set[str]]:
        parsed = _CRITERION.fullmatch(criterion)
        at, up, plain, down = parsed.groups() if parsed else ("", "", criterion, "")
        meant = {node.unique_id for node in self.all_nodes if is_meant(node, plain)}
        above = {node.unique_id: node.depends_on for node in self.all_nodes}
        below: dict[str, list[str]] = {}
        for node in self.all_nodes:
            for parent in node.depends_on:
                below.setdefault(parent, []).append(node.unique_id)
        found = set(meant)
        if up:
            found |= self.reached(meant, above, int(up[:-1] or 0))
        if down or at:
            found |= self.reached(meant, below, int(down[1:] or 0))
        if at:
            found |= self.reached(found, above)
        if mode == "empty":
            return found, set()
        tests = {
            node.unique_id for node in self.all_nodes if node.kind in _TESTS and found.intersection(node.depends_on)
        }
        own = tests if mode == "eager" else {each for each in tests if self._is_covered(each, found, mode)}
        return found | own, tests - own

    @staticmethod
    def reached(start: set[str], edges: Mapping[str, Iterable[str]], steps: int = 0) -> set[str]:
        """Return the nodes that edges reach from some nodes.

        :param start: unique ids.
        :param edges: unique id -> unique ids.
        :param steps: the longest way to go; 0: any.
        """
        reached: set[str] = set()
        front = set(start)
        while front:
            front = {each for one in front for each in edges.get(one, ())} - reached
            reached |= front
            steps -= 1
            if steps == 0:
                break
        return reached


def read_project(
    folder: Path, scripted: Iterable[str] = (), invocation: Invocation | None = None, adapter: str = ""
) -> Project:
    """Return the project in a folder.

    :param folder: the folder of the project, with its ``dbt_project.yml``.
    :param scripted: unique ids and names of the script's nodes. A unique id that no file defines is added as a node.
    :param invocation: the command line, for its variables and its target; None: defaults.
    :param adapter: the ``type`` of the profile, which is ``target.type``.
    """
    variables: dict[str, Any] = {}
    target = "dev"
    if invocation is not None:
        target = setting(invocation, "--target", "-t", default=target)
        given = load_yaml(setting(invocation, "--vars", default="{}"))
        variables = given if isinstance(given, dict) else variables
    files = ProjectFiles(folder, variables, {"name": target, "target_name": target, "type": adapter})
    # dbt lists no analyses by default.
    entries = {name: each for name, each in files.entries.items() if each["resource_type"] != "analysis"}
    nodes = in_order([node_of(name, entry) for name, entry in entries.items()])
    known = {node.unique_id for node in nodes}
    added = [each for each in scripted if is_unique_id(each) and each not in known]
    # dbt may find what the fake does not: in a file that only dbt can read, among the nodes of the script, or, for a
    # ref() with a package, in another project of dbt Mesh. It ignores a reader that .dbtignore names. Nodes that only
    # look disabled here are not judged.
    is_whole = not files.unread and not (folder / ".dbtignore").exists()
    names = {word for each in added for word in each.split(".")[2:]}
    refusals = [
        sentence
        for (home, name, *version), sentence in (files.without_target() if is_whole else ())
        if name not in names and (home is None or not version)  # of a source() the home is the source's name
    ]
    nodes_added = [added_node(each, _tested_by(each, nodes)) for each in added]
    return Project(files.name, nodes, nodes_added, files.unread, refusals)


def _tested_by(unique_id: str, nodes: Iterable[Node]) -> Iterator[str]:
    """Yield the nodes that an added test tests, by the name that dbt would have given it: ``unique_orders_id``."""
    kind, _, test = unique_id.split(".")[:3]
    if kind not in _TESTS:
        return
    named = [node for node in nodes if node.kind not in _TESTS and f"_{node.name}_" in f"_{test}_"]
    for node in named:
        # unique_stg_orders_id tests stg_orders, even if there is a model orders too.
        if not any(f"_{node.name}_" in f"_{other.name}_" for other in named if other is not node):
            yield node.unique_id


def node_of(unique_id: str, entry: Entry) -> Node:
    """Return the node of an entry, such as an entry of a manifest.

    :param unique_id: the unique id of the node.
    :param entry: its entry.
    """
    kind, package, *words = unique_id.split(".")
    materialized = (entry.get("config") or {}).get("materialized")
    return Node(
        kind=kind,
        package=str(entry.get("package_name") or package),
        name=str(entry["name"]),
        unique_id=unique_id,
        path=str(entry["original_file_path"]),
        fqn=tuple(map(str, entry.get("fqn") or (package, *words))),
        materialized=str(materialized or ("view" if kind == "model" else kind)),
        tags=tuple(map(str, entry.get("tags") or ())),
        checksum=str((entry.get("checksum") or {}).get("checksum") or ""),
        depends_on=tuple((entry.get("depends_on") or {}).get("nodes") or ()),
        schema=str(entry.get("schema") or "main"),
        entry=entry,
    )


def added_node(unique_id: str, depends_on: Iterable[str] = ()) -> Node:
    """Return a node of which only the unique id is known.

    :param unique_id: the unique id of the node.
    :param depends_on: unique ids of the nodes that it reads.
    """
    kind, package, *words = unique_id.split(".")
    name = words[-1 if kind == "source" else 0]
    file = "models/schema.yml" if kind in (*_TESTS, "source") else f"{kind}s/{name}.sql"
    materialized = "view" if kind == "model" else kind
    entry = {
        "name": name,
        "resource_type": kind,
        "package_name": package,
        "path": file.partition("/")[2],
        "original_file_path": file,
        "unique_id": unique_id,
        "fqn": [package, *words],
        "alias": name,
        "database": "dev",
        "schema": "main",
        "config": {"enabled": True, "materialized": materialized, "tags": [], "meta": {}},
        "tags": [],
        "checksum": {"name": "none", "checksum": ""},
        # A seed depends on no node, and dbt leaves the key out.
        "depends_on": {"macros": [], **({} if kind == "seed" else {"nodes": list(depends_on)})},
    }
    return node_of(unique_id, entry)


def is_unique_id(name: str) -> bool:
    """Whether a name is spelled as a unique id: ``model.shop.orders``.

    :param name: the name.
    """
    return name.count(".") >= 2


def _kinds(invocation: Invocation) -> set[str]:
    """Return the kinds of nodes that the command works on, limited by its options."""
    kinds = set(_KINDS.get(invocation.command.replace("snapshot-", ""), _KINDS["build"]))
    wanted = set(invocation.words_of("--resource-type", "--resource-types"))
    if wanted and not wanted.intersection(("all", "default")):
        kinds &= wanted
    return kinds.difference(invocation.words_of("--exclude-resource-type", "--exclude-resource-types"))


def in_order(nodes: list[Node]) -> list[Node]:
    """Sort each node after its parents, and independent nodes by unique id, as dbt runs them with one thread.

    :param nodes: the nodes.
    """
    done: list[Node] = []
    rest = sorted(nodes, key=lambda node: node.unique_id)
    while rest:
        waiting = {node.unique_id for node in rest}
        ready = [node for node in rest if not waiting.intersection(node.depends_on)] or rest  # a cycle: in any order
        done += ready
        rest = [node for node in rest if node not in ready]
    return done


def is_meant(node: Node, criterion: str) -> bool:
    """Whether one criterion names the node. A method that is not known names every node.

    :param node: the node.
    :param criterion: a word of a selection, without its graph operators.
    """
    method, colon, value = criterion.partition(":")
    if not colon:
        value, has_ending = criterion, criterion.endswith((".sql", ".py", ".csv", ".yml", ".yaml"))
        method = "path" if "/" in value else "file" if has_ending else "fqn"
    if method == "source":
        names = node.unique_id.split(".")[2:]
        place = (node.package, str(node.entry.get("source_name") or names[0]), node.name)
        parts = value.split(".")
        wanted = [*["*"] * (len(parts) < 3), *parts, *["*"] * (len(parts) == 1)]
        return node.kind == method and len(wanted) == len(place) and all(map(fnmatchcase, place, wanted))
    if method in _WITH_METHOD:
        return node.kind == method and any(
            fnmatchcase(each, value) for each in (node.name, node.selector[len(method) + 1 :])
        )
    facts = {
        "tag": node.tags,
        "resource_type": (node.kind,),
        "package": (node.package,),
        "group": (str(node.entry.get("group")),),
        "access": (str(node.entry.get("access")),),
        "test_name": (str((node.entry.get("test_metadata") or {}).get("name")),),
        "test_type": _test_types(node),
        "file": (os.path.basename(node.path), os.path.splitext(os.path.basename(node.path))[0]),  # noqa: PTH119, PTH122
    }
    if method == "path":
        folder = os.path.normpath(value)
        patch = str(node.entry.get("patch_path") or "").rpartition("://")[2]
        return any(path == folder or path.startswith(f"{folder}/") for path in (node.path, patch))
    if method.startswith("config."):
        found: Any = node.entry.get("config")
        for key in method.split(".")[1:]:
            found = found.get(key) if isinstance(found, dict) else None
        return value in map(_as_word, found) if isinstance(found, (list, tuple, dict)) else value == _as_word(found)
    if method in facts:
        return any(fnmatchcase(each, value) for each in facts[method])
    if method != "fqn":
        return True
    if node.kind == "source":
        return False
    of_version = [f"{node.name}{joint}{node.fqn[-1]}" for joint in "._" if node.entry.get("version") is not None]
    return value in (node.name, node.unique_id, *of_version) or _is_fqn(node.fqn, value)


def _as_word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _test_types(node: Node) -> tuple[str, ...]:
    if node.kind == "unit_test":
        return ("unit",)
    kind = "generic" if node.entry.get("test_metadata") else "singular"
    return ("data", kind) if node.kind == "test" else ()


def _is_fqn(fqn: tuple[str, ...], value: str) -> bool:
    """Whether a word names a node by its fully qualified name or a prefix of it, as in dbt."""
    words = value.split(".")
    for names in (fqn, fqn[1:]):
        parts = ".".join(names).split(".")
        if names[-1:] == (value,) or (len(words) <= len(parts) and all(map(fnmatchcase, parts, words))):
            return True
    return False
