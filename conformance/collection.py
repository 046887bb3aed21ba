"""The selection and order of the checks, and the verdicts that options and declarations decide beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest

from .declaration import Declaration
from .fixtures import declaration_of, learn_declarations
from .options import NATIVE, asked_dbt_kind, drawn, wanted_patterns
from .reporting.known_failures import KnownFailures
from .reporting.verdicts import LEVEL, REQUIREMENT, SMOKE_FILE, VERDICT, Verdict
from .requirements import MARK, NEEDS_MARK, PYTHON_DBT, Requirement

JUDGED = (AssertionError, pytest.fail.Exception)
"""Exceptions of a test that say something about the implementation."""
KNOWN = pytest.StashKey[KnownFailures]()
SPECIFICATION = pytest.StashKey[dict[str, Requirement]]()


def smoke_first(items: list[pytest.Item]) -> None:
    """Move the smoke checks before the rest; otherwise the order stays.

    :param items: all that was collected; sorted in place.
    """
    items.sort(key=lambda item: item.path.name != SMOKE_FILE)


def draw_order(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle the checks by the seed of the run. Checks of one adapter stay together; smoke checks keep their order.

    :param config: the configuration of the run.
    :param items: the checks; sorted in place.
    """
    order = drawn(config, "the order of the checks")
    places = {name: order.random() for name in dict.fromkeys(map(named_adapter, items))}
    keys = {item: (places[named_adapter(item)], order.random()) for item in items}
    smoke_first(items)
    smoke = sum(item.path.name == SMOKE_FILE for item in items)
    items[smoke:] = sorted(items[smoke:], key=lambda item: keys[item])


def drop_other_profiles(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop the checks of requirements outside the profiles of the run. They do not count as deselected.

    :param config: the configuration of the run.
    :param items: all that was collected; changed in place.
    """
    judged = config.stash[SPECIFICATION]
    items[:] = [item for item in items if (id_ := marked_id(item)) is None or id_ in judged]


def deselect_unwanted(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the checks that were not asked for.

    :param config: the configuration of the run.
    :param items: all that was collected; changed in place, as pytest asks it of the hook.
    """
    wanted = wanted_patterns(config)
    left_out = [item for item in items if wanted and not _is_wanted(item, wanted)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def tell_requirements(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each check its requirement; mark what does not apply as skipped, and a known failure as expected.

    :param config: the configuration of the run.
    :param items: the checks.
    """
    known, names = config.stash[KNOWN], list(dict.fromkeys(map(named_adapter, items)))
    learn_declarations(config, names)
    declarations = {name: declaration_of(config, name) for name in names}
    for item in items:
        one, implementation = requirement_of(item), declarations[named_adapter(item)]
        if one is None:
            continue
        item.user_properties += [(REQUIREMENT, one.id), (LEVEL, one.level.value)]
        own = [mark.args[0] for mark in item.iter_markers(NEEDS_MARK)]
        with_own = replace(one, needs=(*one.needs, *own))
        if reasons := why_it_does_not_apply(with_own, implementation, kind=asked_dbt_kind(config)):
            _leave_out(item, Verdict.NOT_APPLICABLE, reasons)
        elif one.id in implementation.differs:
            _leave_out(item, Verdict.DIFFERS, [implementation.differs[one.id]])
        elif one.id in known:
            # Not strict: --cosmos-strict decides whether a known failure that passes fails the run.
            item.add_marker(pytest.mark.xfail(reason=known[one.id].reason, strict=False, raises=JUDGED))


def why_it_does_not_apply(one: Requirement, implementation: Declaration, *, kind: str) -> list[str]:
    """The reasons why a requirement does not apply, one for each missing capability; empty where it applies.

    :param one: the requirement.
    :param implementation: declares which capabilities and compatibilities it has.
    :param kind: the kind of the fake dbt, one of ``DBT_KINDS``.
    """
    declared = {*implementation.has, *implementation.beyond, PYTHON_DBT}
    is_for_another_dbt = kind == NATIVE and PYTHON_DBT in one.needs
    return [
        *(f"{each} is not declared" for each in one.needs if each not in declared),
        *(["the dbt of this run is a native one"] if is_for_another_dbt else []),
    ]


def requirement_of(item: pytest.Item) -> Requirement | None:
    """The requirement that a check judges; None for a smoke check.

    :param item: the check.
    """
    marked = marked_id(item)
    return None if marked is None else item.config.stash[SPECIFICATION][marked]


def marked_id(item: pytest.Item) -> str | None:
    """The id of the requirement that a check judges; None for a smoke check.

    :param item: the check.
    """
    mark = item.get_closest_marker(MARK)
    return None if mark is None else str(mark.args[0])


def named_adapter(item: pytest.Item) -> str | None:
    """The name of the adapter with which a plugin has parametrised the test, as ``--cosmos-implementation`` takes it;
    None where no plugin has.

    :param item: the check.
    """
    callspec: Any = getattr(item, "callspec", None)
    return callspec.params.get("adapter") if callspec else None


def _leave_out(item: pytest.Item, verdict: Verdict, reasons: Sequence[str]) -> None:
    item.user_properties.append((VERDICT, verdict.value))
    item.add_marker(pytest.mark.skip(reason=f"{verdict.value}: {', '.join(reasons)}"))


def _is_wanted(item: pytest.Item, wanted: list[str]) -> bool:
    one = requirement_of(item)
    return one is None or any(fnmatchcase(one.id, pattern) for pattern in wanted)
