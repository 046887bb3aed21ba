"""The nodes that a name means: ``package.folder.model``, the fully qualified name of dbt, any beginning of it, or its
end.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import translate
from functools import cached_property
from itertools import compress

from cosmos_venv.project.node_entry import NodeEntry

# To index the names takes as long as so many looks through all of them.
_MANY_LOOKS = 8


def is_wild(value: str) -> bool:
    """Whether dbt takes a value for a pattern.

    :param value: the value of a selection item.
    """
    return any(character in value for character in "*?[]")


class Names:
    """All fully qualified names of a project. The commonest question, which node has this name, takes the least work.

    :param entries: nodes by unique id; sources have no such names.
    """

    def __init__(self, entries: Mapping[str, NodeEntry]) -> None:
        names: dict[str, list[str]] = {}
        # Here the last part is the version, the one before it the name. The unit tests of a model have its version too.
        versioned: dict[str, list[str]] = {}
        ends: list[str] = []
        heads: set[str] = set()
        # All in one go: the entries lie about in memory, and to come to them is most of the work.
        for unique_id, entry in entries.items():
            if entry.resource_type == "source":
                continue
            names[unique_id] = name = entry.fqn or unique_id.split(".")[1:]
            heads.update(name[:2])
            if entry.version is not None and entry.resource_type == "model" and len(name) > 1:
                versioned[unique_id] = name
                ends.append(name[-2])
            else:
                ends.append(name[-1])
        self._names, self._versioned = names, versioned
        # What each is called by, and what those that lie in folders begin with, with the package and without it.
        self._ends, self._heads = ends, heads
        self._looks = 0

    def meant_by(self, value: str) -> Iterator[str]:
        """Ids of the nodes, some of them twice.

        :param value: a name, or a pattern.
        """
        yield from self._ending_with(value)
        # Of a versioned name the last two parts do, joined by a dot or an underscore, whatever comes before them.
        joined = "_".join(value.split(".")[-2:])
        yield from (each for each, name in self._versioned.items() if f"{name[-2]}_{name[-1]}" == joined)
        if is_wild(value):
            yield from self._fitting(value)
        elif any(f"{value}.".startswith(f"{head}.") or head.startswith(f"{value}.") for head in self._heads):
            yield from self._in_folders(value)

    def _ending_with(self, value: str) -> Iterable[str]:
        self._looks += 1
        if self._looks > _MANY_LOOKS:
            return self._by_end.get(value, ())
        # Nothing is faster than count() where there is nothing, as of most folders and wildcards.
        return compress(self._names, map(value.__eq__, self._ends)) if self._ends.count(value) else ()

    def _in_folders(self, value: str) -> Iterator[str]:
        for folder, members in self._folders():
            name = ".".join(folder)
            if name and (name == value or name.startswith(f"{value}.")):
                yield from members
            elif not name or value.startswith(f"{name}."):
                rest = value.removeprefix(f"{name}.") if name else value
                lasts = ((self._names[each][-1], each) for each in members)
                yield from (each for last, each in lasts if last == rest or last.startswith(f"{rest}."))

    def _fitting(self, pattern: str) -> Iterator[str]:
        """The nodes that fit a pattern: from its first part with a wildcard on it is compared with all the rest of the
        name.

        A pattern without dots is compared with the name's end too.
        """
        if "." not in pattern:
            fits_whole = re.compile(translate(pattern)).match
            yield from (each for end, ids in self._by_end.items() if fits_whole(end) for each in ids)
        parts = pattern.split(".")
        plain = next(index for index, part in enumerate(parts) if is_wild(part))
        begin, fits = (
            "".join(f"{part}." for part in parts[:plain]),
            re.compile(translate(".".join(parts[plain:]))).match,
        )
        dots = len(parts) - 1
        for unique_id, starts, dotted in self._dotted:
            for start in starts:
                if (
                    dotted.startswith(begin, start)
                    and fits(dotted, start + len(begin))
                    and dotted.count(".", start) >= dots
                ):
                    yield unique_id
                    break

    @cached_property
    def _by_end(self) -> dict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for unique_id, end in zip(self._names, self._ends, strict=True):
            found[end].append(unique_id)
        return found

    @cached_property
    def _dotted(self) -> list[tuple[str, tuple[int, ...], str]]:
        """Each id with the name in one piece, and where in it the name begins: with the package and without it."""
        return [
            (unique_id, (0, len(name[0]) + 1) if len(name) > 1 else (0,), ".".join(name))
            for unique_id, name in self._names.items()
        ]

    def _folders(self) -> Iterator[tuple[tuple[str, ...], list[str]]]:
        """Each folder with its nodes, with the package in front and without it."""
        for folder, members in self._by_folder.items():
            yield folder, members
            if folder:
                yield folder[1:], members

    @cached_property
    def _by_folder(self) -> dict[tuple[str, ...], list[str]]:
        found: dict[tuple[str, ...], list[str]] = {}
        previous: list[str] | None = None
        members: list[str] = []
        for unique_id, name in self._names.items():
            folder = name[:-1]
            # Neighbours are often of one folder, and comparing takes less than looking up.
            if folder != previous:
                members = found.setdefault(tuple(folder), [])
                previous = folder
            members.append(unique_id)
        return found
