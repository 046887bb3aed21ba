"""Which spellings ask for the same environment, which for another one, and what is never shown."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.exceptions import CosmosValueError


def spec_of(*requirements: str, options: tuple[str, ...] = ()) -> EnvironmentSpec:
    return EnvironmentSpec(requirements=requirements, pip_install_options=options, interpreter=Interpreter.of())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(("dbt-core", "dbt-core"), ("dbt-core",), id="twice"),
        pytest.param(("dbt-core",), (" DBT.Core ",), id="name"),
        pytest.param(("dbt_core>=1.10,<2",), ("dbt-core < 2, >= 1.10",), id="specifier-order-and-blanks"),
        pytest.param(("hello[b,a]",), ("hello[a,b]",), id="extras"),
        pytest.param(("hello; python_version>'3.8'",), ('hello ;python_version > "3.8"',), id="marker"),
        pytest.param(
            ("hello @ https://user:secret@host/hello.whl",), ("hello@ https://host/hello.whl",), id="credentials"
        ),
        pytest.param(("git+https://t0ken@host/r.git@v1",), ("git+https://host/r.git@v1",), id="credentials-of-git"),
    ],
)
def test_spellings_that_mean_the_same_give_the_same_digest(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert spec_of(*one).digest == spec_of(*other).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(("hello==1.0",), ("hello==2.0",), id="version"),
        pytest.param(("hello",), ("hello[extra]",), id="extra"),
        pytest.param(("hello",), (), id="none"),
        pytest.param(("hello @ https://host/a.whl",), ("hello @ https://host/b.whl",), id="address"),
    ],
)
def test_requirements_that_differ_give_different_digests(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert spec_of(*one).digest != spec_of(*other).digest


# A busy machine made the generation of an example "slow": 1.5 s.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.permutations(["dbt-core>=1.10", "dbt-duckdb", "pandas[excel]<3", "numpy; sys_platform == 'linux'"]))
def test_no_order_of_requirements_changes_the_digest(requirements: list[str]) -> None:
    in_order = spec_of(*sorted(requirements))

    assert spec_of(*requirements).digest == in_order.digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(("-i", "https://host/simple"), ("--index-url=https://host/simple",), id="short-form"),
        pytest.param(("--index-url", "https://u:p@host/s"), ("--index-url", "https://host/s"), id="credentials"),
    ],
)
def test_options_that_mean_the_same_give_the_same_digest(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert spec_of("hello", options=one).digest == spec_of("hello", options=other).digest


def test_interpreter_options_and_site_flag_are_part_of_the_digest() -> None:
    spec = spec_of("hello")
    others = [
        replace(spec, interpreter=replace(spec.interpreter, version="3.99.0")),
        replace(spec, pip_install_options=("--no-deps",)),
        replace(spec, system_site_packages=True),
    ]

    digests = {spec.digest, *(other.digest for other in others)}

    assert len(digests) == 4


def test_requirements_files_that_include_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt\n")
    (tmp_path / "b.txt").write_text("-r a.txt\n")

    with pytest.raises(CosmosValueError, match=r"a\.txt includes itself"):
        _ = spec_of("-r " + str(tmp_path / "a.txt")).digest


@pytest.mark.parametrize("text", ["dbt core", "dbt-core=1.10", "{{ var.value.requirement }}"])
def test_what_is_no_requirement_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(CosmosValueError, match=r"py_requirements: .* is not a requirement .*Write a name"):
        spec_of(text)


@pytest.mark.parametrize("option", ["-r", "--constraint", "-e"])
def test_an_option_without_its_file_is_refused(option: str) -> None:
    with pytest.raises(CosmosValueError, match=f"py_requirements: '{option}' stands without its file. Write both in"):
        spec_of(option, "/srv/requirements.txt")


def test_no_credential_is_shown() -> None:
    spec = spec_of(
        "hello @ https://user:s3cret@host/hello.whl", options=("--index-url", "https://user:s3cr@t@host/simple")
    )

    shown = [repr(spec), str(spec), json.dumps(spec.redacted)]

    assert not any("s3cr" in text for text in shown)
    assert all("https://****@host" in text for text in shown)


def test_an_interpreter_is_looked_up_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))

    assert Interpreter.of(Path(sys.executable).name) == Interpreter.of()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("python9.9", r"there is no interpreter 'python9\.9'", id="not-there"),
        pytest.param("true", "'true' .* does not answer as a Python interpreter", id="another-program"),
    ],
)
def test_what_is_no_interpreter_is_refused(name: str, words: str) -> None:
    with pytest.raises(CosmosValueError, match=f"py_executable: {words}"):
        Interpreter.of(name)


def test_what_a_name_on_the_path_says_instead_of_answering_is_told(tmp_path: Path) -> None:
    """A shim of pyenv stands for every version that is installed, and serves the selected one alone."""
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\necho 'pyenv: python3.12: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)

    with pytest.raises(CosmosValueError, match=r"python3\.12: command not found\. Give the path of"):
        Interpreter.of(str(shim))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            {"requirements": "dbt-duckdb"},
            r"py_requirements='dbt-duckdb' is one string.* Write \['dbt-duckdb'\]\.",
            id="requirements",
        ),
        pytest.param(
            {"requirements": (), "pip_install_options": "--index-url https://user:s3cret@host"},
            r"pip_install_options='--index-url https://\*\*\*\*@host' is one string.* "
            r"Write \['--index-url', 'https://\*\*\*\*@host'\]\.",
            id="options",
        ),
        pytest.param({"requirements": ("dbt-duckdb", 1.10)}, r"py_requirements: 1\.1 is no string", id="number"),
    ],
)
def test_a_string_in_place_of_a_list_is_refused_with_the_list_it_should_be(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(CosmosValueError, match=message):
        EnvironmentSpec(interpreter=Interpreter.of(), **arguments)


@pytest.mark.parametrize(
    "name", ["PIP_CONSTRAINT", "UV_CONSTRAINT", pytest.param("PIP_CONFIG_FILE", id="constraint-in-pip.conf")]
)
def test_constraints_that_a_machine_is_configured_with_count_by_content(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new security constraint never reached an environment that was ready."""
    constraints, moved = tmp_path / "constraints.txt", tmp_path / "moved.txt"
    constraints.write_text("hello<3\n")
    moved.write_text("hello<3  # as before\n")

    def digest(file: Path) -> str:
        (tmp_path / "pip.conf").write_text(f"[install]\nconstraint = {file}\n")
        monkeypatch.setenv(name, str(tmp_path / "pip.conf" if name == "PIP_CONFIG_FILE" else file))
        return spec_of("hello").digest

    before = digest(constraints)
    constraints.write_text("hello<2\n")

    assert digest(constraints) != before
    assert digest(moved) == before


def test_constraints_that_are_not_there_count_by_name_and_indexes_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    without = spec_of("hello").digest
    monkeypatch.setenv("PIP_INDEX_URL", "https://packages.example.com/simple")
    with_index = spec_of("hello").digest

    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "gone.txt"))

    assert with_index == without
    assert spec_of("hello").digest != without


def test_constraints_of_the_machine_have_no_say_in_a_lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pylock.toml").write_text('lock-version = "1.0"\n')
    before = spec_of(f"-r {tmp_path}/pylock.toml").digest

    monkeypatch.setenv("PIP_CONSTRAINT", "https://constraints.example.com/all.txt")

    assert spec_of(f"-r {tmp_path}/pylock.toml").digest == before
