"""Which nodes does a name mean? ``package.folder.model`` of dbt's fully qualified names, any beginning, or the end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase, translate

from cosmos_venv.project.entry import NodeEntry


def is_wild(value: str) -> bool:
    """Whether dbt takes it for a pattern."""
    return any(character in value for character in "*?[]")


class Names:
    """All names, by their ends and by their folders: there are far fewer folders than names.

    :param entries: nodes by unique id; sources have no such names.
    """

    def __init__(self, entries: Mapping[str, NodeEntry]) -> None:
        self._by_end: dict[str, list[str]] = {}
        self._by_version: dict[str, list[str]] = {}
        self._by_folder: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        for unique_id, entry in entries.items():
            if entry.resource_type == "source":
                continue
            *folder, last = entry.fqn or unique_id.split(".")[1:]
            self._by_folder.setdefault(tuple(folder), []).append((last, unique_id))
            # The unit tests of a versioned model have its version too.
            if entry.version is None or entry.resource_type != "model" or not folder:
                self._by_end.setdefault(last, []).append(unique_id)
            else:  # the last part is the version, the one before it the name
                self._by_end.setdefault(folder[-1], []).append(unique_id)
                self._by_version.setdefault(f"{folder[-1]}_{last}", []).append(unique_id)

    def meant_by(self, value: str) -> Iterator[str]:
        """Ids of the nodes, some of them twice.

        :param value: a name, or a pattern.
        """
        yield from self._by_end.get(value, ())
        # Of a versioned name the last two parts do, joined by a dot or an underscore, whatever comes before them.
        yield from self._by_version.get("_".join(value.split(".")[-2:]), ())
        if is_wild(value):
            yield from self._fitting(value)
            return
        for folder, members in self._folders():
            name = ".".join(folder)
            if name and (name == value or name.startswith(f"{value}.")):
                yield from (unique_id for _, unique_id in members)
            elif not name or value.startswith(f"{name}."):
                rest = value.removeprefix(f"{name}.") if name else value
                yield from (each for last, each in members if last == rest or last.startswith(f"{rest}."))

    def _fitting(self, pattern: str) -> Iterator[str]:
        """From its first part with a wildcard on, the pattern is compared with all the rest of the name.

        A pattern without dots is compared with the name's end too.
        """
        if "." not in pattern:
            yield from (each for end, ids in self._by_end.items() if fnmatchcase(end, pattern) for each in ids)
        parts = pattern.split(".")
        plain = next(index for index, part in enumerate(parts) if is_wild(part))
        begin, fits = parts[:plain], re.compile(translate(".".join(parts[plain:]))).match
        for folder, members in self._folders():
            flat = [part for segment in folder for part in segment.split(".")]
            if begin[: len(flat)] != flat[:plain]:
                continue
            for last, unique_id in members:
                name = [*flat, *last.split(".")]
                if len(name) >= len(parts) and name[:plain] == begin and fits(".".join(name[plain:])):
                    yield unique_id

    def _folders(self) -> Iterator[tuple[tuple[str, ...], list[tuple[str, str]]]]:
        """Each with the package and without it."""
        for folder, members in self._by_folder.items():
            yield folder, members
            if folder:
                yield folder[1:], members
