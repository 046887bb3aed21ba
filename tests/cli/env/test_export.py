"""``cosmos-venv env export``: environments as an image, which tasks find by the search path."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.cli import main
from cosmos_venv.environments.environment import Environment
from cosmos_venv.environments.maintenance.inventory import read_inventory
from cosmos_venv.environments.store import EnvironmentStore
from tests.cli.env.calls import Cli
from tests.environments.archive.layouts import read_layout
from tests.kit import DbtCalls, MakeOperator, MakeReady, MakeSpec
from tests.remote_settings import Configure


def test_a_task_runs_dbt_in_what_is_mounted_at_the_path(
    make_operator: MakeOperator,
    dbt_calls: DbtCalls,
    kept_directory: Path,
    configure: Configure,
    cli: Cli,
    tmp_path: Path,
) -> None:
    make_operator().execute({})
    (name,) = {call.prefix.resolve().name for call in dbt_calls()}
    pod = tmp_path / "pod"

    code, written = cli("export", kept_directory, name, "--oci", tmp_path / "image.tar", "--at", pod)
    read_layout(tmp_path / "image.tar").mount(pod)
    configure(virtualenv_search_path=pod, virtualenv_build="never")
    make_operator(virtualenv_dir=tmp_path / "own").execute({})

    (environment,) = written["environments"]
    assert code == 0, written["stderr"]
    assert str(dbt_calls()[-1].prefix) == environment["path"]
    assert Path(environment["path"]).is_relative_to(pod)
    assert not (tmp_path / "own").exists()


def test_people_read_what_the_image_holds_and_what_it_needs(
    hello: Environment, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = main(["env", "export", str(tmp_path / "store"), "--oci", str(tmp_path / "image"), "--at", "/opt/dbt"])

    said = capfd.readouterr().out.splitlines()
    python = hello.record["spec"]["interpreter"]
    assert code == 0
    assert said[0].startswith(f"{tmp_path}/image: ")
    assert read_layout(tmp_path / "image").manifest
    assert said[1:] == [
        f"  holds       {hello.digest[:12]}-1  hello",
        "  mount at    /opt/dbt",
        f"  needs       {python['executable']} (cpython {python['version']})",
    ]


def test_all_that_is_ready_goes_into_one_image_unless_one_is_named(
    hello: Environment, make_ready: MakeReady, make_spec: MakeSpec, cli: Cli, tmp_path: Path
) -> None:
    other = make_ready(tmp_path / "store", make_spec("hello==1.0"))

    _, both = cli("export", tmp_path / "store", "--oci", tmp_path / "both", "--at", "/opt/dbt")
    _, one = cli("export", tmp_path / "store", hello.digest[:8], "--oci", tmp_path / "one", "--at", "/opt/dbt")

    read_layout(tmp_path / "both").mount(tmp_path / "mounted")
    assert {each["digest"] for each in both["environments"]} == {hello.digest, other.digest}
    assert [each["digest"] for each in one["environments"]] == [hello.digest]
    found = read_inventory(EnvironmentStore(tmp_path / "mounted"))
    assert {(each.digest, each.state) for each in found} == {(hello.digest, "ready"), (other.digest, "ready")}


def test_an_environment_that_works_only_here_leaves_no_image(
    hello: Environment, make_ready: MakeReady, make_spec: MakeSpec, cli: Cli, tmp_path: Path
) -> None:
    make_ready(tmp_path / "store", make_spec("hello==1.0"))
    (hello.path / "secret").symlink_to("/etc/hostname")

    code, said = cli("export", tmp_path / "store", "--oci", tmp_path / "image", "--at", "/opt/dbt")

    (failure,) = said["failures"]
    assert (code, said["image"], said["environments"]) == (1, None, [])
    assert "-1  hello: it works only where it was built: secret is a link that leads to /etc/hostname" in failure
    assert not (tmp_path / "image").exists()


@pytest.mark.parametrize(
    ("at", "target", "message"),
    [
        pytest.param("opt/dbt", "image", "--at 'opt/dbt' is no absolute path", id="relative"),
        pytest.param("/opt/../dbt", "image", "Give one without . and .. and without", id="not-normal"),
        pytest.param("/", "image", "--at '/' is no absolute path of a directory below /", id="root"),
        pytest.param("/opt/dbt", "store", "store exists. Give a new directory", id="target-exists"),
    ],
)
def test_a_path_or_target_that_cannot_be_is_refused(
    hello: Environment, cli: Cli, tmp_path: Path, at: str, target: str, message: str
) -> None:
    code, said = cli("export", tmp_path / "store", "--oci", tmp_path / target, "--at", at)

    assert (code, message in said["error"]) == (1, True), said
    assert hello.path.exists()
