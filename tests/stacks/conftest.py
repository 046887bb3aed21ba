"""The stacks of a session: each is started once, with the DAGs of all tests that are to run on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.machine_lock import only_airflow
from tests.postgres import Postgres
from tests.stacks.stack import Kind, Stack, prepared


@pytest.fixture(scope="session")
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    """The kind of Airflow that runs now, the only one on this machine."""
    with only_airflow():
        yield request.param


@pytest.fixture(scope="session")
def stack(
    kind: Kind, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres: Postgres
) -> Iterator[Stack]:
    """A stack with the DAGs of all tests that are to run on it. It runs, unless it is a cold one."""
    modules = dict.fromkeys(module_of(item) for item in request.session.items if uses(item, kind))
    with prepared(kind, tmp_path_factory.mktemp("stack"), postgres) as stack:
        for module in modules:
            stack.scenes[module.__name__] = module.prepare(stack)
        if kind.is_cold:
            yield stack
            return
        stack.read_dag_files()
        with stack.servers():
            yield stack


def uses(item: pytest.Item, kind: Kind) -> bool:
    callspec = vars(item).get("callspec")
    return callspec is not None and callspec.params.get("kind") is kind


def module_of(item: pytest.Item) -> Any:
    module = item.getparent(pytest.Module)
    assert module is not None
    return module.obj


@pytest.fixture
def scene(stack: Stack, request: pytest.FixtureRequest) -> Any:
    """What the test's module has prepared on the stack; the test's waits have one deadline."""
    stack.use_deadline()
    return stack.scenes[request.module.__name__]
