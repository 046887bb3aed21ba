"""Real environments by uv and pip: built once, published whole, used without a lock, never changed."""

from __future__ import annotations

import base64
import http.server
import os
import site
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from cosmos_venv.environments.lease import Lease
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import Environment, EnvironmentStore
from cosmos_venv.environments.temporary import temporary_environment
from cosmos_venv.exceptions import CommandKilled, CosmosValueError, VirtualenvBuildError, VirtualenvError
from cosmos_venv.guarded import Cancellation

Spec = Callable[..., EnvironmentSpec]
Preference = Literal["uv", "pip"]


def make_ready(
    directory: Path, spec: EnvironmentSpec, *, preference: Preference = "uv", lines: list[str] | None = None
) -> Environment:
    """The environment after its block: its lease is given up, its files stand."""
    with EnvironmentStore(directory).open(
        spec,
        preference=preference,
        max_tries=5,
        cancellation=Cancellation(),
        report=(lines if lines is not None else []).append,
    ) as environment:
        return environment


def output_of(command: object, *arguments: str) -> str:
    return subprocess.run([str(command), *arguments], capture_output=True, text=True, check=True).stdout.strip()


def builds_of(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "envs-v1" / "builds").iterdir())


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_an_environment_is_built_once_and_then_found(tmp_path: Path, make_spec: Spec, preference: Preference) -> None:
    spec = make_spec("hello==1.0", check="import hello; assert hello.VERSION == '1.0'")

    first = make_ready(tmp_path / "with blank é", spec, preference=preference)
    second = make_ready(tmp_path / "with blank é", spec, preference=preference)

    assert (first.was_built, second.was_built) == (True, False)
    assert first.path == second.path
    assert output_of(first.script("hello")) == "hello 1.0"
    assert output_of(first.python, "-c", "import sys; print(sys.prefix)") == str(first.path)
    assert list(first.path.glob("lib/*/site-packages/hello/__pycache__/*.pyc"))


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_the_record_says_what_was_built_how_and_by_whom(
    tmp_path: Path, make_spec: Spec, preference: Preference
) -> None:
    environment = make_ready(tmp_path, make_spec("hello"), preference=preference)

    record = environment.record

    assert record["pins"]["hello"] == "2.0"
    assert record["installer"]["name"] == preference
    assert record["built_by"]["pid"] == os.getpid()
    assert record["spec"]["requirements"] == ["hello"]
    assert record["seconds"] > 0


def test_directories_of_a_published_build_are_read_only_and_files_are_not(tmp_path: Path, make_spec: Spec) -> None:
    path = make_ready(tmp_path, make_spec()).path

    folders = [path, *(folder for folder in path.rglob("*") if folder.is_dir() and not folder.is_symlink())]
    module = next(path.glob("lib/*/site-packages/hello/__init__.py"))

    assert [folder for folder in folders if folder.stat().st_mode & 0o222] == []
    assert module.stat().st_mode & stat.S_IWUSR


def test_different_requirements_live_side_by_side_and_the_launcher_runs_the_last(
    tmp_path: Path, make_spec: Spec
) -> None:
    one = make_ready(tmp_path, make_spec("hello==1.0"))
    launched_before = output_of(tmp_path / "bin" / "hello")

    two = make_ready(tmp_path, make_spec("hello==2.0"))

    assert launched_before == "hello 1.0"
    assert output_of(tmp_path / "bin" / "hello") == "hello 2.0"
    assert (output_of(one.script("hello")), output_of(two.script("hello"))) == ("hello 1.0", "hello 2.0")


def test_a_command_of_somebody_else_is_not_replaced(tmp_path: Path, make_spec: Spec) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "hello").write_text("theirs")

    make_ready(tmp_path, make_spec())

    assert (tmp_path / "bin" / "hello").read_text() == "theirs"


def test_a_plain_virtual_environment_in_the_directory_is_left_alone(tmp_path: Path, make_spec: Spec) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)
    before = sorted((tmp_path / "bin").iterdir())
    lines: list[str] = []

    environment = make_ready(tmp_path, make_spec(), lines=lines)

    assert sorted((tmp_path / "bin").iterdir()) == before
    assert any("is a virtual environment already" in line for line in lines)
    assert environment.path != tmp_path


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_a_failing_installation_says_why_and_leaves_nothing(
    tmp_path: Path, make_spec: Spec, preference: Preference
) -> None:
    spec = make_spec("hello==9.0")

    with pytest.raises(VirtualenvBuildError, match=rf"(?s){preference} could not install hello==9\.0 .*hello==9\.0"):
        make_ready(tmp_path, spec, preference=preference)

    assert builds_of(tmp_path) == []
    assert not (tmp_path / "cosmos_virtualenv.lock").exists()
    assert EnvironmentStore(tmp_path).find(spec) is None


def test_an_environment_that_does_not_work_is_not_published(tmp_path: Path, make_spec: Spec) -> None:
    spec = make_spec("hello", check="raise SystemExit('hello is mute')")

    with pytest.raises(VirtualenvBuildError, match=r"(?s)installed but does not work.*hello is mute"):
        make_ready(tmp_path, spec)

    assert builds_of(tmp_path) == []


def test_an_environment_without_packages_is_one_too(tmp_path: Path, make_spec: Spec) -> None:
    from dataclasses import replace

    environment = make_ready(tmp_path, replace(make_spec(), requirements=()))

    assert environment.record["pins"] == {}


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path, make_spec: Spec) -> None:
    file = tmp_path / "file"
    file.write_text("")

    for directory in (file, file / "below"):
        with pytest.raises(CosmosValueError, match=r"virtualenv_dir: .*file.* is not a directory.*Give the path"):
            make_ready(directory, make_spec())


OPEN_AS_NOBODY = """
import json, os, sys
from pathlib import Path
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.guarded import Cancellation
if os.getuid() == 0:
    os.setuid(65534)
spec = EnvironmentSpec.from_dict(json.loads(sys.argv[2]))
try:
    with EnvironmentStore(Path(sys.argv[1])).open(spec, max_tries=0, cancellation=Cancellation(), report=print):
        pass
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_directory_that_cannot_be_written_is_named(
    tmp_path: Path, make_spec: Spec, start_python: Callable[..., subprocess.Popen[str]]
) -> None:
    import json

    directory = tmp_path / "read-only"
    directory.mkdir(mode=0o555)

    output = start_python(OPEN_AS_NOBODY, directory, json.dumps(make_spec().as_dict())).communicate()[0]

    assert output.startswith(f"VirtualenvError virtualenv_dir {directory} cannot be used: Permission denied")
    assert "choose another directory" in output
    assert issubclass(VirtualenvBuildError, VirtualenvError)


def test_an_error_after_the_publishing_does_not_take_the_environment_away(tmp_path: Path, make_spec: Spec) -> None:
    def fail_when_ready(line: str) -> None:
        if "is ready after" in line:
            raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        EnvironmentStore(tmp_path).open(
            make_spec(), preference="uv", max_tries=0, cancellation=Cancellation(), report=fail_when_ready
        ),
    ):
        pytest.fail("the report raises before")

    assert not make_ready(tmp_path, make_spec()).was_built


def test_what_dead_builders_left_is_removed_by_the_next(tmp_path: Path, make_spec: Spec) -> None:
    kept = make_ready(tmp_path, make_spec("hello==1.0"))
    leftover = tmp_path / "envs-v1" / "builds" / f"{'a' * 64}-1"
    (leftover / "lib").mkdir(parents=True)
    (leftover / "lib").chmod(0o555)
    leftover.with_name(f"{leftover.name}.lease").touch()
    (tmp_path / ".cosmos_virtualenv.lock.left").touch()

    built = make_ready(tmp_path, make_spec("hello==2.0"))

    assert {name.partition(".")[0] for name in builds_of(tmp_path)} == {kept.path.name, built.path.name}
    assert not (tmp_path / ".cosmos_virtualenv.lock.left").exists()


def test_an_unpublished_build_in_which_something_still_runs_is_not_removed(tmp_path: Path, make_spec: Spec) -> None:
    dying = tmp_path / "envs-v1" / "builds" / f"{'a' * 64}-1"
    dying.mkdir(parents=True)
    lease = Lease.shared(dying)
    assert lease is not None

    with closing(lease):
        make_ready(tmp_path, make_spec())

        assert dying.is_dir()


def test_an_environment_counts_as_used_until_it_is_closed(tmp_path: Path, make_spec: Spec) -> None:
    make_ready(tmp_path, make_spec())
    environment = EnvironmentStore(tmp_path).find(make_spec())
    assert environment is not None

    while_used = Lease.exclusive(environment.path)
    environment.close()
    afterwards = Lease.exclusive(environment.path)

    assert while_used is None
    assert afterwards is not None
    afterwards.close()


def test_an_environment_whose_interpreter_is_gone_is_built_anew(tmp_path: Path, make_spec: Spec) -> None:
    first = make_ready(tmp_path, make_spec())
    (first.path / "bin").chmod(0o755)
    first.python.unlink()

    second = make_ready(tmp_path, make_spec())

    assert second.was_built
    assert second.path != first.path
    assert output_of(second.script("hello")) == "hello 2.0"


def test_the_packages_of_the_worker_are_visible_only_when_asked_for(tmp_path: Path, make_spec: Spec) -> None:
    if sys.prefix == sys.base_prefix:
        pytest.skip("the tests do not run in a virtual environment")
    apart = make_ready(tmp_path, make_spec())

    shared = make_ready(tmp_path, make_spec(system_site_packages=True))

    sees_worker = f"import sys; print({site.getsitepackages()[0]!r} in sys.path)"
    assert output_of(apart.python, "-I", "-c", sees_worker) == "False"
    assert output_of(shared.python, "-I", "-c", sees_worker) == "True"
    assert output_of(shared.script("hello")) == "hello 2.0"


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_variables_of_the_worker_do_not_divert_the_installation(
    tmp_path: Path, make_spec: Spec, preference: Preference, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison" / "encodings.py").write_text("raise SystemExit('poisoned')")
    for name, value in {
        "PIP_USER": "1",
        "PIP_TARGET": str(tmp_path / "elsewhere"),
        "PIP_PREFIX": str(tmp_path / "elsewhere"),
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PYTHONPATH": str(tmp_path / "poison"),
        "UV_SYSTEM_PYTHON": "1",
    }.items():
        monkeypatch.setenv(name, value)

    environment = make_ready(tmp_path / "store", make_spec(), preference=preference)

    assert environment.record["pins"]["hello"] == "2.0"
    assert not (tmp_path / "elsewhere").exists()


class _Guarded(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, for those who know user and password."""

    def do_GET(self) -> None:
        expected = "Basic " + base64.b64encode(b"user:s3cret").decode()
        if self.headers.get("Authorization") == expected:
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="wheels"')
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass


@pytest.fixture
def guarded_address(wheelhouse: Path) -> Iterator[str]:
    """Host and port of a server that gives the wheels only to ``user`` with ``s3cret``."""

    def handler(*arguments: object) -> _Guarded:
        return _Guarded(*arguments, directory=str(wheelhouse))  # type: ignore[arg-type] # what the server passes

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_credentials_reach_the_installer_and_nothing_else(
    tmp_path: Path, make_spec: Spec, guarded_address: str, preference: Preference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # The run of all tests is offline; this server is on loopback.
    for name in ("UV_OFFLINE", "UV_NO_INDEX", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    spec = make_spec(
        f"hello @ http://user:s3cret@{guarded_address}/hello-1.0-py3-none-any.whl",
        options=("--extra-index-url", f"http://user:s3cret@{guarded_address}"),
    )
    lines: list[str] = []

    environment = make_ready(tmp_path, spec, preference=preference, lines=lines)

    written = [file for file in tmp_path.rglob("*") if file.is_file() and not file.is_symlink()]
    assert output_of(environment.script("hello")) == "hello 1.0"
    assert [line for line in lines if "s3cret" in line] == []
    assert [file for file in written if b"s3cret" in file.read_bytes()] == []


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_a_temporary_environment_is_gone_afterwards(
    tmp_path: Path, make_spec: Spec, preference: Preference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lines: list[str] = []

    with temporary_environment(
        make_spec(), preference=preference, cancellation=Cancellation(), report=lines.append
    ) as environment:
        said = output_of(environment.script("hello"))
        name = environment.path.name
        pins = environment.record["pins"]

    assert said == "hello 2.0"
    assert pins["hello"] == "2.0"
    assert name.startswith("cosmos-venv")
    assert list(tmp_path.glob("cosmos-venv*")) == []


def test_a_temporary_environment_is_gone_after_a_failure_too(
    tmp_path: Path, make_spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with (
        pytest.raises(VirtualenvBuildError, match="could not install"),
        temporary_environment(make_spec("hello==9"), preference="uv", cancellation=Cancellation(), report=print),
    ):
        pytest.fail("it cannot be there")

    assert list(tmp_path.glob("cosmos-venv*")) == []


def test_a_request_to_end_while_installing_leaves_nothing(
    tmp_path: Path,
    make_spec: Spec,
    make_slow_sdist: Callable[[Path], Path],
    wait_until: Callable[[Callable[[], object]], None],
) -> None:
    gate = tmp_path / "gate"
    spec = make_spec(str(make_slow_sdist(gate)))
    cancellation = Cancellation()

    def end_it_while_it_builds() -> None:
        wait_until(lambda: gate.exists() and gate.read_text())
        cancellation.request()

    threading.Thread(target=end_it_while_it_builds, daemon=True).start()
    with (
        pytest.raises(CommandKilled),
        EnvironmentStore(tmp_path / "store").open(
            spec, preference="uv", max_tries=0, cancellation=cancellation, report=print
        ),
    ):
        pytest.fail("it was to end")

    assert not Path(f"/proc/{gate.read_text()}").exists()
    assert builds_of(tmp_path / "store") == []
    assert not (tmp_path / "store" / "cosmos_virtualenv.lock").exists()
