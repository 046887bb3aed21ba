"""A failed build stays only where that was asked for, and only the last one of each environment."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from cosmos_venv.environments.layout import PruneLimits, StorePolicy
from cosmos_venv.environments.maintenance.inventory import read_inventory
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import VirtualenvBuildError
from tests.kit import MakeReady, MakeSpec

KEEP = StorePolicy(limits=PruneLimits(), keep_failed=True)


class Fail(Protocol):
    """Make a build that fails, and return the lines of its log."""

    def __call__(self, spec: EnvironmentSpec, *, policy: StorePolicy = KEEP) -> list[str]: ...


@pytest.fixture
def fail(tmp_path: Path, make_ready: MakeReady) -> Fail:
    def fail(spec: EnvironmentSpec, *, policy: StorePolicy = KEEP) -> list[str]:
        lines: list[str] = []
        with pytest.raises(VirtualenvBuildError):
            make_ready(tmp_path, spec, lines=lines, policy=policy)
        return lines

    return fail


def left_in(directory: Path) -> list[str]:
    return sorted(path.name.partition("-")[2] for path in (directory / "envs-v1" / "builds").iterdir())


def test_a_failed_build_is_kept_beside_its_log(tmp_path: Path, make_spec: MakeSpec, fail: Fail) -> None:
    lines = fail(make_spec(check="raise SystemExit('hello is mute')"))

    (stored,) = read_inventory(EnvironmentStore(tmp_path))
    assert stored.state == "failed"
    assert list(stored.path.glob("lib/*/site-packages/hello/__init__.py"))
    assert f"What there is of it is kept in {stored.path}." in lines
    log = (tmp_path / "envs-v1" / "builds" / f"{stored.name}.failed.log").read_text()
    assert "+ hello==2.0\n" in log
    assert "was installed but does not work (exit status 1). It said:\nhello is mute\n" in log
    assert left_in(tmp_path) == ["1.failed", "1.failed.log"]


def test_only_the_last_failure_of_an_environment_is_kept(tmp_path: Path, make_spec: MakeSpec, fail: Fail) -> None:
    fail(make_spec("hello==1.0", check="raise SystemExit('first')"))
    fail(make_spec("hello==2.0", check="raise SystemExit('other')"))
    fail(make_spec("hello==1.0", check="raise SystemExit('second')"))

    logs = sorted(path.read_text()[-7:] for path in tmp_path.glob("envs-v1/builds/*.log"))
    assert logs == ["other\n".rjust(7, "\n"), "second\n"]
    assert len(read_inventory(EnvironmentStore(tmp_path))) == 2


def test_a_password_is_not_in_the_log_of_a_kept_failure(
    tmp_path: Path, make_spec: MakeSpec, fail: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    fail(make_spec("hello @ https://user:s3cret@index.invalid/hello-1.0-py3-none-any.whl"))

    (log,) = tmp_path.glob("envs-v1/builds/*.log")
    assert "https://****@index.invalid" in log.read_text()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
