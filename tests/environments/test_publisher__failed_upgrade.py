"""An upgrade that fails is a warning: what is ready is used, and not every task tries again."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.files.kernel_lock import Lease
from tests.environments.upgrades import HOUR, change_record, make_empty, make_old, release, upgraded, use
from tests.kit import OutputOf


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
    tmp_path: Path, index: Path, spec: EnvironmentSpec, wheelhouse: Path
) -> None:
    first = use(tmp_path / "store", spec)
    make_old(first)
    make_empty(index)
    use(tmp_path / "store", spec)
    release(index, wheelhouse)
    warnings: list[str] = []

    put_off = use(tmp_path / "store", spec, warn=warnings.append)
    then = datetime.now(tz=timezone.utc) - timedelta(seconds=HOUR + 1)
    change_record(first, built_at=then.isoformat(), upgrade_failed_at=then.isoformat())
    tried_again = use(tmp_path / "store", spec)

    assert (put_off.path, warnings) == (first.path, [])
    assert tried_again.was_built
