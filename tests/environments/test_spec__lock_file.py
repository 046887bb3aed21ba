"""A lock file is part of an environment's digest with its content, and stands alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.exceptions import CosmosValueError

LOCK = 'lock-version = "1.0"\ncreated-by = "me"\npackages = []\n# {}\n'


def spec_of(*requirements: str, options: tuple[str, ...] = ()) -> EnvironmentSpec:
    return EnvironmentSpec(requirements=requirements, pip_install_options=options, interpreter=Interpreter.of())


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``dags/pylock.toml``, and nothing else in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dags").mkdir()
    file = tmp_path / "dags" / "pylock.toml"
    file.write_text(LOCK.format(1))
    return file


def test_its_content_counts_and_not_how_or_where_it_is_named(file: Path, tmp_path: Path) -> None:
    before = spec_of(f"-r {file}")
    copy = tmp_path / "pylock.harbor.toml"
    copy.write_bytes(file.read_bytes())
    spellings = ["-r dags/pylock.toml", "--requirement=./dags/../dags/pylock.toml", f"-r{copy}", f"-r '{copy}'"]

    assert {spec_of(text).digest for text in spellings} == {before.digest}
    assert spec_of("hello", f"-r {file}").digest != before.digest

    file.write_text(LOCK.format(2))

    assert spec_of(f"-r {file}").digest != before.digest


def test_a_change_of_credentials_in_an_address_is_no_change(file: Path) -> None:
    digests = set()
    for secret in ("one", "another"):
        file.write_text(LOCK.format(f"https://user:{secret}@host/x.whl?token={secret}"))
        digests.add(spec_of(f"-r {file}").digest)

    assert len(digests) == 1


@pytest.mark.parametrize(
    ("requirements", "options", "words"),
    [
        pytest.param(
            ["-r {file}"], ["--upgrade"], "pip_install_options: --upgrade cannot renew what {file}", id="upgrade"
        ),
        pytest.param(
            ["-r {file}"], ["-r", "pylock.x.toml"], r"pylock\.x\.toml and {file} are two lock files", id="two"
        ),
    ],
)
def test_what_contradicts_it_is_refused_at_once(
    file: Path, requirements: list[str], options: list[str], words: str
) -> None:
    with pytest.raises(CosmosValueError, match=words.format(file=file)):
        spec_of(*(text.format(file=file) for text in requirements), options=tuple(options))
