"""Requirements become a lock file: for one Python and platform, without credentials, with a hash of each package."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_venv.environments.builder import refuse_stale_lock
from cosmos_venv.environments.installers.lock_files import resolve
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.exceptions import CosmosValueError, VirtualenvBuildError
from cosmos_venv.processes.cancellation import Cancellation
from tests.environments.lock_files import sha256_of
from tests.kit import MakeReady, MakeSpec


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        pytest.param(["hello~=1.0", "HELLO", "other; sys_platform == 'mars'", "./pkg", "-c x"], "", id="held"),
        pytest.param(["hello>=2"], r"hello>=2 is wanted, and /pylock\.toml holds hello 1\.0\. Lock anew", id="version"),
        pytest.param(["other[x]"], r"other\[x\] is wanted, and /pylock\.toml holds no other\. Lock anew", id="name"),
    ],
)
def test_requirements_beside_a_lock_file_say_what_it_must_hold(beside: list[str], words: str) -> None:
    spec = EnvironmentSpec(requirements=(*beside, "-r /pylock.toml"), interpreter=Interpreter.of())

    if words:
        with pytest.raises(CosmosValueError, match=f"py_requirements: {words}"):
            refuse_stale_lock(spec, {"Hello": "1.0"})
    else:
        refuse_stale_lock(spec, {"Hello": "1.0"})


def resolved(
    spec: EnvironmentSpec, target: Path, *, is_universal: bool = False, lines: list[str] | None = None
) -> tuple[str, int]:
    return resolve(
        spec,
        target,
        is_universal=is_universal,
        cancellation=Cancellation(),
        report=(lines if lines is not None else []).append,
    )


def test_it_holds_an_address_and_a_hash_and_says_for_which_python_and_platform_it_is(
    tmp_path: Path, wheelhouse: Path, make_spec: MakeSpec
) -> None:
    wheel = wheelhouse / "hello-2.0-py3-none-any.whl"
    spec = make_spec("hello", options=("--upgrade", "--force-reinstall", "--require-hashes"))

    found = resolved(spec, tmp_path / "pylock.toml")

    assert found[1] == 1
    assert found[0].splitlines()[:4] == [
        "# Resolved by cosmos-venv env lock, for: hello",
        'lock-version = "1.0"',
        'created-by = "uv"',
        f'requires-python = "==3.{sys.version_info.minor}.*"',
    ]
    assert f"environments = [\"sys_platform == '{sys.platform}' and platform_machine == '" in found[0]
    assert f'{{ url = "{wheel.as_uri()}", hashes = {{ sha256 = "{sha256_of(wheel)}" }} }}' in found[0]


def test_what_it_writes_is_what_a_build_takes(
    tmp_path: Path, wheelhouse: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    shutil.copytree(wheelhouse, tmp_path / "dags" / "with blanks")
    spec = replace(make_spec(), pip_install_options=("--no-index", "-f", str(tmp_path / "dags" / "with blanks")))
    file = tmp_path / "dags" / "pylock.toml"
    file.write_text(resolved(spec, file)[0])

    moved = Path(shutil.move(tmp_path / "dags", tmp_path / "moved")) / "pylock.toml"
    environment = make_ready(tmp_path / "store", make_spec("hello", f"-r {moved}"))

    assert 'path = "with blanks/hello-2.0-py3-none-any.whl"' in moved.read_text()
    assert environment.record.pins == {"hello": "2.0"}


def test_it_may_be_for_all_platforms(tmp_path: Path, make_spec: MakeSpec) -> None:
    found = resolved(make_spec(), tmp_path / "pylock.toml", is_universal=True)

    assert f'requires-python = ">=3.{sys.version_info.minor}' in found[0]
    assert "environments" not in found[0]


def test_requirements_with_hashes_are_written_too(tmp_path: Path, wheelhouse: Path, make_spec: MakeSpec) -> None:
    found = resolved(make_spec("hello<2"), tmp_path / "requirements.txt")

    assert found == (
        "# Resolved by cosmos-venv env lock, for: hello<2\n"
        f"hello==1.0 \\\n    --hash=sha256:{sha256_of(wheelhouse / 'hello-1.0-py3-none-any.whl')}\n",
        1,
    )


def test_no_credential_is_in_it_or_on_a_command_line(
    tmp_path: Path,
    guarded_address: str,
    command_lines: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("UV_OFFLINE", "UV_NO_INDEX", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    address = f"http://user:s3cret@{guarded_address}"
    lines: list[str] = []

    def text_for(*requirements: str, target: str) -> str:
        options = ("--no-index", "--find-links", f"{address}/")
        spec = EnvironmentSpec(requirements=requirements, pip_install_options=options, interpreter=Interpreter.of())
        return resolved(spec, tmp_path / target, lines=lines)[0]

    texts = [
        text_for("hello", target="pylock.toml"),
        text_for(f"hello @ {address}/hello-1.0-py3-none-any.whl", target="pylock.toml"),
        text_for(f"hello @ http://{guarded_address}/hello-1.0-py3-none-any.whl?token=s3cret", target="r.txt"),
    ]

    assert f"http://{guarded_address}/hello-2.0-py3-none-any.whl" in texts[0]
    assert f"http://{guarded_address}/hello-1.0-py3-none-any.whl" in texts[1]
    assert "--hash=sha256:" in texts[2]
    assert "s3cret" not in "".join([*texts, *lines, command_lines.read_text()])
    assert command_lines.read_text().count("pip compile") == 3


@pytest.mark.parametrize("target", ["pylock.toml", "requirements.txt"])
def test_a_folder_can_have_no_hash(tmp_path: Path, make_spec: MakeSpec, target: str) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "pyproject.toml").write_text('[project]\nname = "pkg"\nversion = "1"\n')

    with pytest.raises(CosmosValueError, match=r"pkg.* no hash .*Build a wheel of it"):
        resolved(make_spec(f"pkg @ {(tmp_path / 'pkg').as_uri()}"), tmp_path / target)


def test_what_uv_says_is_told(tmp_path: Path, make_spec: MakeSpec) -> None:
    with pytest.raises(VirtualenvBuildError, match=r"(?s)uv could not resolve hello==9.*It said:.*hello==9"):
        resolved(make_spec("hello==9"), tmp_path / "pylock.toml")
