"""An upgrade that fails is a warning: what is ready is used, and not every task tries again."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.environments.layout import failure_file
from cosmos_venv.environments.publisher import Publisher
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import VirtualenvBuildError
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.lease import Lease
from tests.environments.upgrades import HOUR, make_empty, make_old, release, upgraded, use
from tests.kit import OutputOf, SetAge


@pytest.fixture
def spec(index: Path) -> EnvironmentSpec:
    return upgraded(index)


def test_a_failing_upgrade_is_a_warning_and_what_is_ready_is_used(
    tmp_path: Path, index: Path, spec: EnvironmentSpec, output_of: OutputOf
) -> None:
    first = use(tmp_path / "store", spec)
    make_old(first)
    make_empty(index)
    warnings: list[str] = []

    second = use(tmp_path / "store", spec, warn=warnings.append)

    assert (second.path, second.was_built) == (first.path, False)
    (warning,) = warnings
    assert f"{first.path} is used as it is, and the next attempt is made after 3600 s." in warning
    assert "hello was not found" in warning
    assert output_of(first.script("hello")) == "hello 1.0"
    lease = Lease.exclusive(first.path)
    assert lease is not None, "the task that is done must not keep the old generation"
    lease.close()


def test_after_a_failing_upgrade_the_next_attempt_is_put_off(
    tmp_path: Path, index: Path, spec: EnvironmentSpec, wheelhouse: Path, set_age: SetAge
) -> None:
    first = use(tmp_path / "store", spec)
    make_old(first)
    make_empty(index)
    use(tmp_path / "store", spec)
    release(index, wheelhouse)
    warnings: list[str] = []

    put_off = use(tmp_path / "store", spec, warn=warnings.append)
    set_age(failure_file(first.path), HOUR + 1)
    tried_again = use(tmp_path / "store", spec)

    assert (put_off.path, warnings) == (first.path, [])
    assert tried_again.was_built


def test_who_wants_upgrades_often_has_failed_ones_tried_again_as_often(
    tmp_path: Path, index: Path, spec: EnvironmentSpec, set_age: SetAge
) -> None:
    first = use(tmp_path / "store", spec)
    make_old(first)
    make_empty(index)
    warnings: list[str] = []

    for age in (0, 0, 61):
        use(tmp_path / "store", spec, upgrade_after=60, warn=warnings.append)
        set_age(failure_file(first.path), age)
    use(tmp_path / "store", spec, upgrade_after=60, warn=warnings.append)

    assert len(warnings) == 2


def test_who_had_to_wait_for_a_failing_upgrade_does_not_fail_over_it_again(
    tmp_path: Path, index: Path, spec: EnvironmentSpec
) -> None:
    store = EnvironmentStore(tmp_path / "store")
    make_old(use(store.directory, spec))
    found_by_second = store.find(spec)
    assert found_by_second is not None
    make_empty(index)
    use(store.directory, spec)
    warnings: list[str] = []

    publisher = Publisher(store, spec, cancellation=Cancellation(), report=print, warn=warnings.append)
    got_by_second = publisher.upgrade(found_by_second, preference="uv")

    assert got_by_second is found_by_second
    assert warnings == []
    got_by_second.close()


def test_what_was_noted_of_a_failing_upgrade_goes_with_its_generation(
    tmp_path: Path, index: Path, spec: EnvironmentSpec, wheelhouse: Path
) -> None:
    first = use(tmp_path / "store", spec)
    make_old(first)
    make_empty(index)
    use(tmp_path / "store", spec)
    release(index, wheelhouse)

    newer = use(tmp_path / "store", spec, upgrade_after=0)
    make_old(newer)
    use(tmp_path / "store", spec)  # its builder removes the generations that nobody uses

    assert list(first.path.parent.glob(f"{first.path.name}*")) == []


def test_without_a_ready_environment_the_installers_failure_is_the_tasks(
    tmp_path: Path, index: Path, spec: EnvironmentSpec
) -> None:
    make_empty(index)

    with pytest.raises(VirtualenvBuildError, match=r"(?s)could not install hello.*hello was not found"):
        use(tmp_path / "store", spec)
