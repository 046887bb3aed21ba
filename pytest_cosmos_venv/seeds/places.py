"""Where does a dbt project stand in Airflow? As a DAG of its own, or as a group of tasks in a DAG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_cosmos_venv.errors import ToolkitMisuse

SEPARATOR = "/"
"""Between a DAG and its groups; Airflow has it in no id."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """One rendering of the project.

    :param groups: ids from the outermost group to that of the project; none: the DAG is the project's own.
    """

    dag_id: str
    groups: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """What the ids of its tasks begin with."""
        return "".join(f"{group}." for group in self.groups)

    def __str__(self) -> str:
        return SEPARATOR.join((self.dag_id, *self.groups))


def read_places(texts: Iterable[str]) -> tuple[Place, ...]:
    """The places of ``("harbor", "port/north")``: a DbtDag, and a DbtTaskGroup in a DAG.

    :raises ToolkitMisuse: for none, an empty id, one twice, and a DAG that is to be a DbtDag and to hold groups.
    """
    texts = (texts,) if isinstance(texts, str) else tuple(texts)
    places = tuple(_read_place(text) for text in texts)
    if not places or len(set(places)) < len(places):
        raise ToolkitMisuse(
            f"places={texts!r}: give each place once, and at least one, such as 'harbor' or 'port/north'."
        )
    own = {place.dag_id for place in places if not place.groups}
    shared = sorted(own.intersection(place.dag_id for place in places if place.groups))
    if shared:
        raise ToolkitMisuse(
            f"places={texts!r}: {shared[0]!r} alone is a DbtDag, which holds no other groups; give one another name."
        )
    return places


def find_place(places: Sequence[Place], text: str | None) -> Place:
    """The one of this text; the first without one.

    :raises ToolkitMisuse: there is none.
    """
    found = next((place for place in places if text in (None, str(place))), None)
    if found is None:
        raise ToolkitMisuse(f"place={text!r}: there is {', '.join(map(str, places))}.")
    return found


def _read_place(text: str) -> Place:
    dag_id, *groups = text.split(SEPARATOR)
    if not all((dag_id, *groups)):
        raise ToolkitMisuse(f"place {text!r}: write 'harbor' for a DbtDag, 'port/north' for a DbtTaskGroup in a DAG.")
    return Place(dag_id=dag_id, groups=tuple(groups))
