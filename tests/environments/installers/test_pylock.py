"""Lock files: what of one is installed on a Python, as lines for both installers; what is refused, and why."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import packaging.pylock
import pytest

from cosmos_venv.environments.installers.pylock import LockedPackages, locked_packages
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.exceptions import CosmosValueError
from pytest_cosmos_venv import Wheel, write_wheel
from tests.environments.lock_files import package, sha256_of, write_lock_file

HASH = "ab" * 32
HASHES = f'hashes = {{ sha256 = "{HASH}" }}'


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return write_wheel(Wheel(name="hello", version="1.0", files={"hello.py": ""}), tmp_path)


def locked(file: Path, *beside: str, options: tuple[str, ...] = (), **more: Any) -> LockedPackages:
    spec = EnvironmentSpec(
        requirements=(*beside, f"-r {file}"), pip_install_options=options, interpreter=more.get("on", Interpreter.of())
    )
    found = locked_packages(spec)
    assert found is not None
    return found


def source(text: str, name: str = "hello") -> str:
    return f'[[packages]]\nname = "{name}"\n{text}'


def test_each_package_is_an_address_and_a_hash(tmp_path: Path, wheel: Path) -> None:
    (tmp_path / "with blanks").mkdir()
    moved = wheel.rename(tmp_path / "with blanks" / wheel.name)
    file = write_lock_file(
        tmp_path / "pylock.toml",
        package(moved, at=f'path = "with blanks/{moved.name}"'),
        source(f'wheels = [{{ url = "https://files.example.com/a/other-2-py3-none-any.whl#x", {HASHES} }}]', "other"),
        source(f'archive = {{ url = "https://host/${{HOME}}.zip", {HASHES}, subdirectory = "pkg" }}', "archive"),
        source('sdist = { url = "https://host/built-1.tar.gz", hashes = { md5 = "0", sha512 = "cd" } }', "built"),
    )

    found = locked(file)

    assert found.lines == (
        f"hello @ {tmp_path.as_uri()}/with%20blanks/{moved.name} --hash=sha256:{sha256_of(moved)}",
        f"other @ https://files.example.com/a/other-2-py3-none-any.whl --hash=sha256:{HASH}",
        f"archive @ https://host/%24{{HOME}}.zip#subdirectory=pkg --hash=sha256:{HASH}",
        "built @ https://host/built-1.tar.gz --hash=sha512:cd",
    )
    assert found.sources == (f"{tmp_path}/with blanks", "files.example.com", "host")
    assert found.has_sdists


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        pytest.param(
            'vcs = { type = "git", url = "https://u:s3cret@host/r.git", commit-id = "1" }',
            r"hello in {file} comes from a repository \(https://\*{4}@host/r\.git\), of which no hash can be checked",
            id="repository",
        ),
        pytest.param(
            'directory = { path = "./pkg" }', r"hello in {file} is a folder \(\./pkg\), of which", id="folder"
        ),
        pytest.param(
            'archive = { url = "https://h/a.zip", hashes = { md5 = "00" } }',
            r"hello in {file} has no hash that uv and pip check \(sha256, sha512, sha384\)",
            id="weak-hash",
        ),
        pytest.param(
            f'archive = {{ url = "https://h/a.zip\\n--index-url=x", {HASHES} }}', "address with blanks", id="two-lines"
        ),
        pytest.param(
            f'wheels = [{{ name = "hello-1-py3-none-any.whl", url = "https://h/1?token=s3cret", {HASHES} }}]',
            r"from https://h/1\?token=\*\*\*\*, which does not end with the name of the file \(hello-1-",
            id="file-without-name",
        ),
        pytest.param(
            f'wheels = [{{ url = "https://h/hello-1-cp27-none-any.whl", {HASHES} }}]',
            "{file} is not for Python {python} on .*: No wheel found .* 'hello'.*cosmos-venv env lock",
            id="other-wheel",
        ),
    ],
)
def test_what_cannot_be_installed_by_its_hash_is_refused(tmp_path: Path, entry: str, words: str) -> None:
    file = write_lock_file(tmp_path / "pylock.toml", source(entry))
    expected = words.replace("{file}", str(file)).replace("{folder}", str(tmp_path))

    with pytest.raises(CosmosValueError, match=expected.replace("{python}", Interpreter.of().version)) as raised:
        locked(file)
    assert str(raised.value).startswith("py_requirements: ")
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("lock-version", "is no lock file (PEP 751): ", id="no-toml"),
        pytest.param(
            'lock-version = "1.0"\ncreated-by = "me"\nrequires-python = "<3"\npackages = []',
            "does not satisfy the Python version requirement '<3'. Lock with that Python there",
            id="requires-python",
        ),
        pytest.param(
            'lock-version = "1.0"\ncreated-by = "me"\nenvironments = ["sys_platform == \'mars\'"]\npackages = []',
            "any of the environments",
            id="other-platform",
        ),
        pytest.param(None, "cannot be read: No such file or directory", id="missing"),
    ],
)
def test_a_file_that_is_not_for_this_python_or_no_lock_file_is_refused(
    tmp_path: Path, content: str | None, words: str
) -> None:
    file = tmp_path / "pylock.toml"
    if content is not None:
        file.write_text(content)

    with pytest.raises(CosmosValueError, match=f"py_requirements: {file} .*{re.escape(words)}"):
        locked(file)


def test_where_the_reader_is_not_installed_its_name_and_another_way_are_told(
    tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_lock_file(tmp_path / "pylock.toml", package(wheel))
    words = r"the worker needs packaging 26\.1 or later.*cosmos-venv env lock DAGFILE --output requirements\.txt"

    with monkeypatch.context() as early:
        early.delattr(packaging.pylock.Pylock, "select")
        with pytest.raises(CosmosValueError, match=words):
            locked(file)
    monkeypatch.setitem(sys.modules, "packaging.pylock", None)
    with pytest.raises(CosmosValueError, match=words):
        locked(file)


@pytest.mark.parametrize(
    ("beside", "options", "words"),
    [
        pytest.param(["hello~=1.0", "HELLO", "other; sys_platform == 'mars'"], (), "", id="what-it-holds"),
        pytest.param(["{folder}/hello-1.0-py3-none-any.whl", "hello @ https://host/x.whl"], (), "", id="addresses"),
        pytest.param(["hello>=2"], (), r"hello>=2 is wanted, and .* holds hello 1\.0\. Lock anew", id="other-version"),
        pytest.param(["other[x]"], (), r"does not hold other\[x\]\. Lock anew: cosmos-venv env lock", id="other-name"),
        pytest.param([], ("-c", "{folder}/more.txt"), "", id="constraint"),
        pytest.param(["./pkg"], (), r"'\./pkg' stands beside .*pylock\.toml and has no name", id="folder"),
        pytest.param(
            ["https://u:s3cret@h/x.whl"], (), r"'https://\*\*\*\*@h/x\.whl' stands beside", id="address-alone"
        ),
    ],
)
def test_requirements_beside_a_lock_file_say_what_it_must_hold(
    tmp_path: Path, wheel: Path, beside: list[str], options: tuple[str, ...], words: str
) -> None:
    file = write_lock_file(tmp_path / "pylock.toml", package(wheel))
    (tmp_path / "more.txt").write_text("hello\nother\n")
    texts = [text.format(folder=tmp_path) for text in beside]
    given = tuple(text.format(folder=tmp_path) for text in options)

    if words:
        with pytest.raises(CosmosValueError, match=f"py_requirements: .*{words}"):
            locked(file, *texts, options=given)
    else:
        assert len(locked(file, *texts, options=given).lines) == 1


def test_another_python_is_asked_for_its_tags_and_markers_though_it_has_no_packaging(
    tmp_path: Path, other_python: str
) -> None:
    other = Interpreter.of(other_python)
    minor = other.version.split(".")[1]
    file = write_lock_file(
        tmp_path / "pylock.toml",
        source(f'wheels = [{{ url = "https://h/hello-1-cp3{minor}-none-any.whl", {HASHES} }}]'),
        more=f'requires-python = "=={other.version}"',
    )

    assert locked(file, on=other).markers["python_full_version"] == other.version
    with pytest.raises(CosmosValueError, match="is not for Python"):
        locked(file)
