"""``cosmos-venv env warm`` and ``env fetch`` with a remote store: what was fetched, what built, and what neither."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cosmos_venv.cli import main
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from tests.cli.env.calls import Cli
from tests.command_line import harbor_source, write_dag_file
from tests.remote_settings import Configure


def of_dbt(wheelhouse: Wheelhouse, *more: str) -> list[str]:
    """The words that mean an environment with a dbt."""
    return [
        "--requirement=dbt-core==1.10.0",
        *(f"--pip-option={option}" for option in (*wheelhouse.pip_install_options, *more)),
    ]


def test_env_warm_fetches_what_another_machine_has_built_and_pushed(
    cli: Cli,
    fake_dbt_wheels: Wheelhouse,
    tmp_path: Path,
    remote: Path,
    key_file: Path,
    configure: Configure,
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure(remote_key_file=key_file)

    _, built = cli("warm", *of_dbt(fake_dbt_wheels), "--dir", tmp_path / "one")
    (of_builder,) = built["environments"]
    record = json.loads(Path(of_builder["path"].rpartition("-")[0] + ".json").read_text())
    (tmp_path / "one").rename(tmp_path / "disk of the builder")
    code = main(["env", "warm", *of_dbt(fake_dbt_wheels), "--dir", str(tmp_path / "one")])

    assert [of_builder[f"was_{word}"] for word in ("built", "fetched", "pushed")] == [True, False, True]
    assert of_builder["seconds"] == round(record["seconds"], 3)
    assert f"into file://{remote} in " in built["stderr"]
    assert code == 0
    said = re.fullmatch(rf"dbt-core==1\.10\.0 in {tmp_path}/one: fetched in (\d+\.\d) s\n", capfd.readouterr().out)
    assert said
    assert float(said[1]) != of_builder["seconds"], "it is not what the record says of the builder"

    main(["env", "show", str(tmp_path / "one"), Path(of_builder["path"]).name])
    shown = capfd.readouterr().out
    assert f"fetched_from: file://{remote}\n" in shown


def test_what_the_remote_lacks_is_not_built(
    fetch: Cli, tmp_path: Path, remote: Path, key_file: Path, configure: Configure
) -> None:
    configure(remote_key_file=key_file)

    code, fetched = fetch("elsewhere")

    (failure,) = fetched["failures"]
    assert code == 1
    assert re.search(
        rf"file://{remote} holds no environment [0-9a-f]{{12}} for \S+-envs-v2 at {tmp_path}/elsewhere\.$", failure
    )
    assert "Creating" not in fetched["stderr"]
    assert not list((tmp_path / "elsewhere").rglob("bin/hello"))
    assert not remote.exists(), "a command that only fetches writes nothing there"


def test_what_sees_packages_of_its_worker_is_not_built_by_env_fetch(
    cli: Cli, offline: tuple[str, ...], tmp_path: Path, remote: Path, key_file: Path, configure: Configure
) -> None:
    configure(remote_key_file=key_file)
    options = [*(f"--pip-option={option}" for option in offline), "--system-site-packages"]

    code, said = cli("fetch", "--requirement", "hello", *options, "--dir", tmp_path / "elsewhere")

    assert code == 1
    assert "packages of this worker (py_system_site_packages), so no other machine has it." in said["failures"][0]


def test_env_fetch_upgrades_nothing_that_is_ready(
    cli: Cli, fake_dbt_wheels: Wheelhouse, tmp_path: Path, remote: Path, key_file: Path, configure: Configure
) -> None:
    configure(remote_key_file=key_file, virtualenv_upgrade_interval=0)
    words = of_dbt(fake_dbt_wheels, "--upgrade")
    cli("warm", *words, "--dir", tmp_path / "one")
    for left in remote.rglob("*.json"):
        left.unlink()

    code, said = cli("fetch", *words, "--dir", tmp_path / "one")

    assert (code, said["failures"]) == (0, [])
    assert [(one["was_built"], one["was_fetched"]) for one in said["environments"]] == [(False, False)]


@pytest.mark.long
def test_env_fetch_fetches_what_dbt_ls_needs_while_the_dag_file_is_read(
    cli: Cli,
    dbt_project: Path,
    fake_dbt_wheels: Wheelhouse,
    tmp_path: Path,
    remote: Path,
    key_file: Path,
    configure: Configure,
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure(remote_key_file=key_file)
    file = write_dag_file(tmp_path, harbor_source(dbt_project, tmp_path / "environments", fake_dbt_wheels))

    lacking_code, lacking = cli("fetch", file)
    main(["env", "warm", str(file)])
    said = capfd.readouterr().out
    (tmp_path / "environments").rename(tmp_path / "disk of the builder")
    code, fetched = cli("fetch", file)

    assert (lacking_code, code) == (1, 0), fetched["stderr"]
    assert f"{file}, line 10, cannot be imported: file://{remote} holds no environment" in lacking["failures"][0]
    assert re.search(rf"in {tmp_path}/environments: built in \d+\.\d s, and put into the remote store$", said, re.M)
    (one,) = fetched["environments"]
    assert (one["was_fetched"], one["was_built"], one["seconds"] > 0) == (True, False, True)
