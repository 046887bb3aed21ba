"""Reading YAML with PyYAML's parser in C, where it has one: ten times faster, and each task reads some."""

from __future__ import annotations

from typing import Any, NamedTuple


class Scalar(NamedTuple):
    """A value in a YAML text that is no list and no mapping.

    :ivar keys: the keys that lead to it; places in lists are left out.
    :ivar line: number of its first line, from 1.
    :ivar text: without YAML's quotes.
    """

    keys: tuple[str, ...]
    line: int
    text: str


def load_yaml(text: str) -> Any:
    """Return what a YAML text says, as plain data.

    :param text: of a whole file, with one document.
    :raises yaml.YAMLError: when it is none.
    """
    import yaml

    try:
        return yaml.load(text, Loader=_loader())  # noqa: S506 - both are safe loaders
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:  # of the date 2026-02-30
        raise yaml.YAMLError(f"it has a value that cannot be: {error}") from error


def scalars(text: str) -> list[Scalar] | None:
    """Return the values of a YAML text in the order of their lines, each once, wherever aliases repeat it; None when
    the text is no YAML.

    :param text: of a whole file, with one document.
    """
    import yaml

    try:
        root = yaml.compose(text, Loader=_loader())
    except yaml.YAMLError:
        return None
    found: list[Scalar] = []
    seen: set[int] = set()
    todo: list[tuple[tuple[str, ...], Any]] = [] if root is None else [((), root)]
    while todo:
        keys, node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            todo += [((*keys, str(key.value)), value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            todo += [(keys, value) for value in node.value]
        else:
            # The text of a block begins below its mark.
            found.append(Scalar(keys, node.start_mark.line + 1 + (node.style in ("|", ">")), node.value))
    return sorted(found, key=lambda scalar: scalar.line)


def _loader() -> Any:
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
