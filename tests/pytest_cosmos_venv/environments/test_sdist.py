"""Packages that an installer has to build: how long that takes, how it fails, who ends it."""

from __future__ import annotations

import os
import signal

import pytest

from tests.pytest_cosmos_venv.environments.installing import Install
from tests.waiting import wait_until

WITH_UV_ALONE = pytest.mark.parametrize("install", ["uv"], indirect=True)  # where pip would show nothing more


@pytest.mark.parametrize(
    "isolation", [pytest.param([], id="isolated"), pytest.param(["--no-build-isolation"], id="not-isolated")]
)
def test_an_sdist_is_built_without_network(install: Install, isolation: list[str]) -> None:
    sdist = install.wheelhouse.add_sdist("dbt-core", "1.10.5")

    exit_code, output = install(*isolation, "dbt-core==1.10.5", "dbt-duckdb")

    (build,) = sdist.builds
    assert exit_code == 0, output
    assert install.installed == {"dbt_core", "dbt_duckdb", "dbt"}
    assert build.succeeded
    assert not build.is_running
    assert build.ended_at is not None
    assert 0 <= build.ended_at - build.started_at < 60


def test_a_build_fails_with_the_words_it_was_given(install: Install) -> None:
    sdist = install.wheelhouse.add_sdist("dbt-harbor", fails_with="pg_config: command not found")

    exit_code, output = install("dbt-harbor")

    assert exit_code != 0
    assert "pg_config: command not found" in output
    assert [build.succeeded for build in sdist.builds] == [False]


def test_a_held_build_waits_until_it_is_released(install: Install) -> None:
    sdist = install.wheelhouse.add_sdist("dbt-harbor", hold=True, requires=())

    installation = install.start("dbt-harbor")
    build = sdist.wait_for_build()
    assert build.is_running
    assert build.ended_at is None
    assert not install.installed
    sdist.release()
    output, _ = installation.communicate(timeout=60)

    assert installation.returncode == 0, output
    assert install.installed == {"dbt_harbor"}


@WITH_UV_ALONE
def test_a_held_build_can_be_killed(install: Install) -> None:
    sdist = install.wheelhouse.add_sdist("dbt-harbor", hold=True)

    installation = install.start("dbt-harbor")
    os.kill(sdist.wait_for_build().pid, signal.SIGKILL)
    installation.communicate(timeout=60)

    (build,) = sdist.builds
    assert installation.returncode != 0
    assert not build.is_running
    assert build.succeeded is None


@WITH_UV_ALONE
def test_a_build_does_not_outlive_its_installer(install: Install) -> None:
    sdist = install.wheelhouse.add_sdist("dbt-harbor", hold=True)

    installation = install.start("dbt-harbor")
    build = sdist.wait_for_build()
    installation.kill()

    wait_until(lambda: not build.is_running)


@WITH_UV_ALONE
def test_a_build_that_nobody_releases_gives_up(install: Install) -> None:
    install.wheelhouse.add_sdist("dbt-harbor", hold=True, timeout=0.05)

    exit_code, output = install("dbt-harbor")

    assert exit_code != 0
    assert "Nobody has released this build within 0.05 s." in output
