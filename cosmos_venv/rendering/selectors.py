"""The text by which dbt selects one node alone.

dbt takes an fqn as a prefix, with or without the package: ``fqn:shop.orders`` selects the model, each node in a folder
``orders``, and the unit tests of the model. The last two parts of a text may also be the name and the version of a
model in any folder and package, joined by a dot or an underscore: ``fqn:shop.stg.orders_v2`` selects version 2 of
``stg_orders`` too. dbt splits names at dots, and a selection at spaces and commas. Pure: nodes in, texts out, the same
in every process.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from cosmos_venv.constants import TESTS, DbtResourceType

if TYPE_CHECKING:
    from cosmos_venv.project.node import DbtNode

# Characters at which dbt splits a selection, or which it reads as a pattern.
_NOT_IN_A_NAME = re.compile(r"[^\w-]")
_NOT_IN_AN_FQN = re.compile(r"[^\w.-]")
_HASH = re.compile(r"\.[0-9a-f]{10}$")  # dbt puts it behind the id of a generic test


class ExactSelectors(NamedTuple):
    """The texts by which dbt selects nodes.

    :param texts: the text by the node's unique id.
    :param ambiguous: by the unique id of a node that dbt cannot select alone, the other nodes that its text selects.
    """

    texts: dict[str, str]
    ambiguous: dict[str, list[str]]


def exact_selectors(chosen: Iterable[DbtNode], known: Iterable[DbtNode], *, may_hide: bool) -> ExactSelectors:
    """Return the text by which dbt selects each node alone: its fqn, with more where the fqn is not enough.

    A node whose fqn is not known has its name instead, which dbt takes as a prefix too. Chosen tests of one fqn are
    not told apart. If a test that is not chosen has the same fqn, or another test's fqn begins with it, the text also
    names the nodes that the test reads.

    :param chosen: nodes and tests.
    :param known: all nodes of the project that are known, the chosen ones among them.
    :param may_hide: whether the project may have more nodes: then a text has each criterion.
    """
    chosen, known = list(chosen), list(known)
    ids = {node.unique_id for node in chosen}
    texts = {node.unique_id: _fqn_or_name(node) for node in known}
    taken = _taken_beside(texts, known, {texts[each] for each in ids})
    sources: dict[str, list[DbtNode]] = {}
    for node in known:
        if node.resource_type is DbtResourceType.SOURCE:
            sources.setdefault(_source_and_table(node), []).append(node)
    exact: dict[str, str] = {}
    doubtful = []
    for node in chosen:
        if node.resource_type is DbtResourceType.SOURCE:
            text, others = _exact_source(node, sources)
        else:
            alike = taken.get(texts[node.unique_id])
            others = _others(node, alike.values(), ids) if alike else []
            text, others = _exact_selector(node, others, may_hide=may_hide)
        exact[node.unique_id] = text
        if others or may_hide:
            doubtful.append((node, others))
    ambiguous = {}
    for node, others in doubtful:
        if node.resource_type in TESTS:
            read = [each for each in node.depends_on if each in exact]
            exact[node.unique_id] = ",".join(
                (exact[node.unique_id], *(selector_with_children(exact[each]) for each in read))
            )
        else:
            read = []
        if left := sorted(each.unique_id for each in others if {*read} <= {*each.depends_on}):
            ambiguous[node.unique_id] = left
    return ExactSelectors(exact, ambiguous)


def _taken_beside(
    texts: Mapping[str, str], known: Collection[DbtNode], wanted: Collection[str]
) -> dict[str, dict[str, DbtNode]]:
    """Text -> the other nodes that dbt selects by it, by unique id. Each text is the fqn or name of a node.

    :param texts: the fqn or the name of each node, by unique id.
    :param known: the nodes.
    :param wanted: the texts that are asked for; a text that takes no other node is not in the result.
    """
    taken: defaultdict[str, dict[str, DbtNode]] = defaultdict(dict)
    numbers = Counter(texts.values())
    folders: defaultdict[str, list[DbtNode]] = defaultdict(list)
    for node in known:
        unique_id, fqn = node.unique_id, node.fqn
        whole = texts[unique_id]
        if fqn:
            # The fqn without its package, its last part, and the name in the id: the name of a test takes long to make.
            for text in (whole[len(fqn[0]) + 1 :], fqn[-1], unique_id.split(".", 2)[-1]):
                if text in wanted:
                    taken[text][unique_id] = node
            folders[whole.rpartition(".")[0]].append(node)
        if numbers[whole] > 1:
            taken[whole][unique_id] = node
    # By folder and not by node: to cut the fqn of each node took 5 % of the time of a DAG.
    for folder, nodes in folders.items():
        for text in _beginnings(folder).intersection(wanted):
            taken[text].update((node.unique_id, node) for node in nodes)
    for text, node in _versions(known, wanted):
        taken[text][node.unique_id] = node
    for text in filter(_NOT_IN_AN_FQN.search, wanted):
        taken[text] = {node.unique_id: node for node in known if _matches(node, _wild(text))}
    return taken


def selector_with_children(text: str) -> str:
    """Return the text by which dbt selects the nodes that read a node, and the node itself.

    :param text: by which dbt selects the node alone.
    """
    return ",".join(f"{criterion}+1" for criterion in text.split(","))


def selector(node: DbtNode) -> str:
    """The text by which dbt selects a node, and every node whose fqn begins with the node's fqn.

    :param node: a model, seed, snapshot, test and the like; no source.
    """
    if node.fqn:
        return f"fqn:{_wild('.'.join(node.fqn))}"
    if node.resource_type is DbtResourceType.UNIT_TEST:  # its id begins with the name of its model
        return f"unit_test:{_wild(node.resource_name.split('.')[-1])}"
    name = test_name(node)
    needs_method = _NOT_IN_AN_FQN.search(name) or (node.resource_type is DbtResourceType.TEST and "." in name)
    return f"fqn:{_wild(name)}" if needs_method else name


def source_selector(node: DbtNode) -> str:
    """The text by which dbt selects a source. A name cannot have a dot in this text, so dots become wildcards.

    :param node: the source.
    """
    source, table = node.fqn[-2:] if node.fqn else node.resource_name.rsplit(".", 1)
    return f"source:{_wild(source, _NOT_IN_A_NAME)}.{_wild(table, _NOT_IN_A_NAME)}"


def test_name(node: DbtNode) -> str:
    """The name of a test without the hash that dbt puts behind the ids of generic tests; of other nodes, their name.

    :param node: the test; dots belong to its name.
    """
    if node.resource_type is DbtResourceType.TEST:
        return node.fqn[-1] if node.fqn else _HASH.sub("", node.resource_name)
    return node.resource_name


def _wild(text: str, odd: re.Pattern[str] = _NOT_IN_AN_FQN) -> str:
    return odd.sub("?", text)


def _source_and_table(node: DbtNode) -> str:
    return ".".join(node.fqn[-2:]) if node.fqn else node.resource_name


def _exact_source(node: DbtNode, sources: Mapping[str, list[DbtNode]]) -> tuple[str, list[DbtNode]]:
    """Return the text for a source, and the sources from which dbt's wildcards cannot tell it apart."""
    text = source_selector(node)
    pattern = text.removeprefix("source:")
    names = [name for name in sources if fnmatchcase(name, pattern)] if "?" in pattern else [_source_and_table(node)]
    others = [each for name in names for each in sources.get(name, ()) if each.unique_id != node.unique_id]
    if others and node.package_name:
        text = f"source:{node.package_name}.{pattern}"
        others = [each for each in others if each.package_name == node.package_name]
    return text, others


def _matches(node: DbtNode, pattern: str) -> bool:
    """Whether dbt selects a node by an fqn with wildcards: the whole fqn, with or without package, or its last part."""
    fqn = node.fqn or [node.resource_name]
    return any(fnmatchcase(".".join(parts), pattern) for parts in (fqn, fqn[1:], fqn[-1:]))


def _fqn_or_name(node: DbtNode) -> str:
    return ".".join(node.fqn) if node.fqn else node.resource_name


def _beginnings(folder: str) -> set[str]:
    """The texts by which dbt takes all nodes of a folder: the beginnings of its fqn, with the package and without."""
    parts = folder.split(".")
    return {".".join(parts[first:end]) for first in (0, 1) for end in range(first + 1, len(parts) + 1)}


def _versions(known: Iterable[DbtNode], wanted: Iterable[str]) -> Iterator[tuple[str, DbtNode]]:
    """The texts by which dbt takes versions of models, each with the version."""
    versions = [node for node in known if _is_version(node)]
    by_last_two: dict[str, list[str]] = {}
    for text in wanted if versions else ():
        by_last_two.setdefault(_last_two(text.split(".")), []).append(text)
    for node in versions:
        for text in by_last_two.get(_last_two(node.fqn or ()), ()):
            yield text, node


def _last_two(parts: Sequence[str]) -> str:
    return "_".join(parts[-2:])


def _is_version(node: DbtNode) -> bool:
    """Whether the node is a version of a model: its id ends with the name and the version, as the fqn does."""
    # By the id and not by the type: metric views, which have a type of their own in Cosmos, are models to dbt.
    return node.unique_id.startswith("model.") and node.resource_name == ".".join((node.fqn or ())[-2:])


def _others(node: DbtNode, taken: Iterable[DbtNode], chosen: Collection[str]) -> list[DbtNode]:
    """The nodes that a text must not select beside a node; chosen tests of one fqn are not told apart."""
    return [
        each
        for each in taken
        if each.unique_id != node.unique_id and not (each.unique_id in chosen and _are_of_one_fqn(each, node))
    ]


def _exact_selector(node: DbtNode, others: Sequence[DbtNode], *, may_hide: bool) -> tuple[str, list[DbtNode]]:
    """Return the text for a node, and the nodes that no criterion tells apart from the node."""
    if not node.fqn:
        if node.resource_type in TESTS:
            return selector(node), []
        may_hide = True  # a folder of the same name may hold nodes of unknown fqns
    if not others and not may_hide:
        return selector(node), []
    required = _required_criteria(node) if may_hide else frozenset()
    criteria = {name: _wild(value) for name, value in _distinguishing_criteria(node).items()}

    def ambiguous(names: Iterable[str]) -> list[DbtNode]:
        return [each for each in others if all(is_met(each, name) for name in names)]

    def is_met(other: DbtNode, name: str) -> bool:
        return fnmatchcase(_distinguishing_criteria(other).get(name, ""), criteria[name])

    choices = (names for size in range(len(criteria) + 1) for names in combinations(criteria, size))
    judged = ((names, ambiguous(names)) for names in choices if (required & criteria.keys()).issubset(names))
    best, left = min(judged, key=lambda each: len(each[1]))
    return ",".join((selector(node), *(f"{name}:{criteria[name]}" for name in best))), left


def _are_of_one_fqn(one: DbtNode, other: DbtNode) -> bool:
    return one.resource_type in TESTS and one.resource_type is other.resource_type and one.fqn == other.fqn


def _distinguishing_criteria(node: DbtNode) -> dict[str, str]:
    """The criteria that tell a node from others of its fqn: the value by the method of dbt's selection."""
    found = {"resource_type": node.unique_id.partition(".")[0], "file": node.original_file_path.name}
    return {name: value for name, value in (*found.items(), ("package", node.package_name)) if value}


def _required_criteria(node: DbtNode) -> frozenset[str]:
    """The criteria that leave out nodes that may exist but are not known."""
    # A snapshot or a test may be declared in a YAML file, and dbt's engines differ in the file that they name.
    has_file = node.resource_type not in (DbtResourceType.SNAPSHOT, *TESTS)
    return frozenset({"resource_type", "package", *(["file"] if has_file else [])})
