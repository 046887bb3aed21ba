"""A store that release 0.1.0 has made is used, upgraded and pruned by this one.

The store stands in ``tests/data/stores`` as ``tools.record_store`` has written it down, without what differs between
machines.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from cosmos_venv.environments.layout import PruneLimits, failed_path
from cosmos_venv.environments.maintenance.inventory import read_inventory
from cosmos_venv.environments.maintenance.pruner import prune
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.processes.cancellation import Cancellation
from tests.environments.upgrades import use
from tests.kit import MakeReady, MakeSpec, OutputOf, SetAge

RECORDED = Path(__file__).resolve().parents[1] / "data" / "stores" / "0.1.0.json"
INTERPRETER = Interpreter(
    executable="/usr/bin/python3.11",
    version="3.11.7",
    implementation="cpython",
    platform="linux-x86_64-x86_64-linux-gnu",
)


@pytest.fixture
def specs(make_spec: MakeSpec) -> dict[str, EnvironmentSpec]:
    """By the words of the recorded store: what was used, what was to be upgraded, what could not be built."""
    return {
        "USED": make_spec("hello==1.0"),
        "UPGRADED": make_spec("hello", options=("--upgrade",)),
        "FAILED": make_spec("nosuch"),
    }


@pytest.fixture
def store(tmp_path: Path, wheelhouse: Path, specs: dict[str, EnvironmentSpec]) -> EnvironmentStore:
    """The recorded store, for this interpreter: two ready environments, one that failed, and a build without a link."""
    directory, python = tmp_path / "store", Path(os.path.realpath(sys.executable))
    words = {
        "DIRECTORY": str(directory),
        "PYTHON": str(python),
        "HOME": str(python.parent),
        "PACKAGES": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "WHEELHOUSE": str(wheelhouse),
        **{name: spec.digest for name, spec in specs.items()},
    }

    def of_here(text: str) -> str:
        for word, value in words.items():
            text = text.replace(f"{{{word}}}", value)
        return text

    entries: dict[str, dict[str, str]] = json.loads(RECORDED.read_text(encoding="utf-8"))
    directory.mkdir()
    for name, entry in entries.items():
        path = directory / of_here(name)
        if "target" in entry:
            path.symlink_to(of_here(entry["target"]))
        elif "text" in entry:
            path.write_text(of_here(entry["text"]), encoding="utf-8")
        else:
            path.mkdir()
    for name, entry in reversed(entries.items()):  # a folder that is read-only last
        if "mode" in entry:
            (directory / of_here(name)).chmod(int(entry["mode"], 8))
    return EnvironmentStore(directory)


@pytest.mark.parametrize(
    ("requirements", "options", "system_site_packages", "digest"),
    [
        pytest.param(
            ("dbt-core==1.10.0", "dbt-duckdb"),
            (),
            False,
            "d4f3c4e64e3c69138f4c50e901713c7f70c70756997f3f31a7e2293ec741c119",
            id="requirements",
        ),
        pytest.param(
            ("DBT_Duckdb", "dbt.core == 1.10.0"),
            ("--index-url", "https://user:secret@index.example/simple"),
            True,
            "e8ce1d55e0858da8ab3938a1cd327e954f0bec27115405509344ca5bbb8f3375",
            id="private-index",
        ),
        pytest.param(
            ("dbt-core",),
            ("--upgrade", "--pre"),
            False,
            "758e4c7fc64a370d9279912849d8f1e338d00b2b3e46a2d6d2ff1c1dbf0a5533",
            id="options",
        ),
    ],
)
def test_a_spec_has_the_digest_that_it_had(
    requirements: tuple[str, ...], options: tuple[str, ...], system_site_packages: bool, digest: str
) -> None:
    spec = EnvironmentSpec(
        requirements=requirements,
        pip_install_options=options,
        interpreter=INTERPRETER,
        system_site_packages=system_site_packages,
    )

    assert spec.digest == digest


def test_a_ready_environment_is_used_as_it_stands(
    store: EnvironmentStore, specs: dict[str, EnvironmentSpec], output_of: OutputOf
) -> None:
    environment = use(store.directory, specs["USED"])

    assert environment.path == store.builds / f"{specs['USED'].digest}-1"
    assert not environment.was_built
    assert output_of(environment.script("hello")) == "hello 1.0"


def test_an_environment_whose_upgrade_failed_is_upgraded_when_its_time_has_come(
    store: EnvironmentStore,
    specs: dict[str, EnvironmentSpec],
    output_of: OutputOf,
    set_age: SetAge,
) -> None:
    old = store.builds / f"{specs['UPGRADED'].digest}-1"
    put_off = use(store.directory, specs["UPGRADED"], upgrade_after=60)
    set_age(old.with_name(f"{old.name}.upgrade-failed"), 3600)

    upgraded = use(store.directory, specs["UPGRADED"], upgrade_after=60)

    assert (put_off.path, upgraded.path) == (old, old.with_name(f"{specs['UPGRADED'].digest}-2"))
    assert output_of(upgraded.script("hello")) == "hello 2.0"


def test_the_next_build_removes_what_no_link_leads_to_and_keeps_the_failed_build(
    store: EnvironmentStore, specs: dict[str, EnvironmentSpec], make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    abandoned = store.builds / f"{specs['USED'].digest}-2"
    failed = failed_path(store.builds / f"{specs['FAILED'].digest}-1")
    assert abandoned.exists()

    make_ready(store.directory, make_spec("hello==2.0"))

    assert (abandoned.exists(), failed.exists()) == (False, True)


def test_all_of_it_is_listed_and_pruned(store: EnvironmentStore, specs: dict[str, EnvironmentSpec]) -> None:
    found = {(each.digest, each.state) for each in read_inventory(store)}

    removed = prune(
        store,
        PruneLimits(max_count=1, min_age=0),
        now=time.time() + 1,
        max_tries=5,
        cancellation=Cancellation(),
        report=print,
    )

    assert {digest for digest, _ in found} == {spec.digest for spec in specs.values()}
    assert f"{specs['USED'].digest}-2" in {each.stored.name for each in removed}
    assert len([each for each in read_inventory(store) if each.state == "ready"]) == 1
