"""``cosmos-venv env push``: environments of this machine in the remote store, and what keeps one from being there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from cosmos_venv.cli import main
from cosmos_venv.environments.store import Environment
from cosmos_venv.files.kernel_lock import is_in_use
from tests.cli.env.calls import Cli, Fetch
from tests.environments.upgrades import change_record
from tests.kit import MakeReady, MakeSpec, OutputOf
from tests.remote_settings import Configure


def remote_files(remote: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in remote.rglob("*") if path.is_file()}


def test_what_is_pushed_is_fetched_elsewhere(
    hello: Environment,
    cli: Cli,
    fetch: Fetch,
    remote: Path,
    key_file: Path,
    configure: Configure,
    output_of: OutputOf,
    tmp_path: Path,
) -> None:
    configure(remote_key_file=key_file)
    change_record(hello, seconds=999.0)

    code, pushed = cli("push", tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "disk of the builder")
    fetched_code, fetched = fetch("store")
    _, again = fetch("store")
    _, shown = cli("show", tmp_path / "store", hello.digest[:12])

    (of_push,), (of_fetch,), (of_show,) = pushed["environments"], fetched["environments"], shown["builds"]
    assert (code, fetched_code) == (0, 0), pushed["stderr"] + fetched["stderr"]
    assert pushed["remote"] == f"file://{remote}"
    assert of_push["name"] == f"{hello.digest[:12]}-{hello.path.name[-8:]}"
    assert of_push["error"] is None
    assert [path.stat().st_size for path in remote.rglob("*.tar.zst")] == [of_push["bytes"]]
    assert (of_fetch["was_fetched"], of_fetch["was_built"]) == (True, False)
    assert 0 < of_fetch["seconds"] < 60, "not the seconds of the builder"
    assert [(one["was_fetched"], one["seconds"]) for one in again["environments"]] == [(False, 0)]
    assert output_of(Path(of_fetch["path"], "bin", "hello")) == "hello 2.0"
    assert of_show["record"]["fetched_from"] == f"file://{remote}"
    assert of_push["platform"] in [path.name for path in remote.iterdir()]


def test_people_read_what_was_put(
    hello: Environment,
    remote: Path,
    key_file: Path,
    configure: Configure,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    configure(remote_key_file=key_file)

    code = main(["env", "push", str(tmp_path / "store"), hello.digest[:6]])

    said = rf"{hello.digest[:12]}-[0-9a-f]{{8}}  hello: \S+ kB put into file://{remote} in \d\.\d s\n"
    assert code == 0
    assert re.fullmatch(said, capfd.readouterr().out)


def test_the_environment_cannot_be_removed_while_it_is_pushed(
    hello: Environment,
    cli: Cli,
    key_file: Path,
    configure: Configure,
    remote: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    configure(remote_key_file=key_file)
    in_use: list[bool | None] = []
    put_file = LocalFileSystem.put_file

    def watched(*arguments: Any, **options: Any) -> object:
        in_use.append(is_in_use(hello.path))
        return put_file(*arguments, **options)

    monkeypatch.setattr(LocalFileSystem, "put_file", watched)

    assert cli("push", tmp_path / "store")[0] == 0
    assert in_use == [True]
    assert is_in_use(hello.path) is False


def test_a_remote_that_cannot_be_used_is_named(
    fetch: Fetch, cli: Cli, hello: Environment, tmp_path: Path, remote: Path, key_file: Path, configure: Configure
) -> None:
    configure(remote_key_file=key_file)
    remote.parent.write_text("a file stands here")

    fetched_code, fetched = fetch("elsewhere")
    pushed_code, pushed = cli("push", tmp_path / "store")

    assert (fetched_code, pushed_code) == (1, 1)
    assert f"file://{remote} is not used: NotADirectoryError" in fetched["failures"][0]
    assert f"  hello: file://{remote} does not take it: " in pushed["failures"][0]


def shared(environment: Environment) -> None:
    change_record(environment, spec=replace(environment.record.spec, system_site_packages=True))


def opened(environment: Environment) -> None:
    next(environment.path.rglob("site-packages")).chmod(0o777)


def led_out(environment: Environment) -> None:
    (environment.path / "secret").symlink_to("/etc/hostname")


def damaged(environment: Environment) -> None:
    next(environment.path.rglob("hello/__init__.py")).unlink()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(
            shared, "it works only where it was built: it sees packages of its worker", id="system-site-packages"
        ),
        pytest.param(opened, "site-packages: everybody may write to it", id="open-to-others"),
        pytest.param(led_out, "it works only where it was built: secret is a link that leads to", id="not-portable"),
        pytest.param(damaged, "it is damaged: hello/__init__.py is missing", id="damaged"),
    ],
)
def test_what_others_should_not_run_is_refused_and_the_rest_is_pushed(
    hello: Environment,
    make_ready: MakeReady,
    make_spec: MakeSpec,
    cli: Cli,
    tmp_path: Path,
    remote: Path,
    key_file: Path,
    configure: Configure,
    change: Callable[[Environment], None],
    reason: str,
) -> None:
    configure(remote_key_file=key_file)
    make_ready(tmp_path / "store", make_spec("hello==1.0"))
    change(hello)

    code, pushed = cli("push", tmp_path / "store")

    assert code == 1
    assert [reason in each for each in pushed["failures"]] == [True], pushed["failures"]
    assert sorted(each["error"] is None for each in pushed["environments"]) == [False, True]
    assert sorted(name.rpartition(".")[2] for name in remote_files(remote)) == ["json", "zst"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({}, "nothing says whose environments may be run here", id="no-key"),
        pytest.param({"remote_key_file": "/missing"}, "its key file /missing cannot be read", id="key-not-to-be-had"),
        pytest.param({"remote_environment_dir": ""}, "remote_environment_dir is empty", id="no-remote"),
    ],
)
@pytest.mark.usefixtures("remote")
def test_a_push_without_key_or_remote_is_refused(
    cli: Cli, tmp_path: Path, configure: Configure, settings: dict[str, str], message: str
) -> None:
    configure(**settings)

    code, said = cli("push", tmp_path)

    assert (code, message in said["error"]) == (1, True), said


def test_a_directory_of_nothing_ready_is_refused(
    cli: Cli, tmp_path: Path, remote: Path, key_file: Path, configure: Configure
) -> None:
    configure(remote_key_file=key_file)
    empty = tmp_path / "empty"
    empty.mkdir()

    code, said = cli("push", empty)

    assert (code, said["error"]) == (1, f"{empty} holds no ready environment: see cosmos-venv env list.")
    assert not remote.exists()
