"""The texts that select single nodes in a dbt command: the fqn or name, then more criteria, separated by commas."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from cosmos_venv.exceptions import CosmosValueError

METHOD_OF_COSMOS = "exclude_resource_type"
"""A method of Cosmos's own selection, for which dbt has the flag ``--exclude-resource-type``."""
_ONLY_OF_COSMOS = (f"{METHOD_OF_COSMOS}:", "resource_type:semantic_metric_view")


def known_to_dbt(items: Iterable[str]) -> list[str]:
    """Return the items of a selection that dbt takes, without items that have a method or a type of Cosmos only.

    :param items: selection texts.
    """
    return [item for item in items if not _is_of_cosmos(item)]


def refuse_words_of_cosmos(where: str, items: Iterable[str]) -> None:
    """Refuse a method or a type that only Cosmos has, in a selection that dbt evaluates.

    :param where: the place of the selection, for the error.
    :param items: selection texts.
    :raises CosmosValueError: for the first such item, with dbt's own words.
    """
    if (item := next(filter(_is_of_cosmos, items), None)) is not None:
        raise CosmosValueError(
            f"{where}: {item!r} has words of Cosmos, and dbt evaluates this selection. Write dbt's own: exclude with "
            "resource_type:seed, or select config.materialized:metric_view."
        )


def _is_of_cosmos(item: str) -> bool:
    return any(words in item for words in _ONLY_OF_COSMOS)


def selected_with(chosen: Iterable[str], texts: Mapping[str, str]) -> list[str]:
    """Return the nodes that dbt runs when the texts of the chosen nodes are selected, in the order of ``texts``.

    dbt runs all nodes that one text selects, such as tests of one fqn. A text with fewer criteria also selects the
    nodes whose texts have these criteria and more.

    :param chosen: unique ids of the nodes whose texts are given to dbt; all of them are in ``texts``.
    :param texts: unique id of each node that may be selected with them -> its text.
    """
    told: defaultdict[str, set[frozenset[str]]] = defaultdict(set)
    for unique_id in chosen:
        first, criteria = _parts(texts[unique_id])
        told[first].add(criteria)
    found = []
    for unique_id, text in texts.items():
        first, criteria = _parts(text)
        if first in told and any(each <= criteria for each in told[first]):
            found.append(unique_id)
    return found


def _parts(text: str) -> tuple[str, frozenset[str]]:
    first, *criteria = text.split(",")
    return first, frozenset(criteria)
