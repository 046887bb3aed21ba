"""Tests of the arguments that ProfileConfig takes and refuses, and of the profiles that it gives."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cosmos_venv.config import ProfileConfig
from cosmos_venv.exceptions import CosmosValueError


class SecretMapping:
    """A profile mapping as the configuration knows it: one secret, by environment variable."""

    dbt_profile_type = "postgres"

    @property
    def env_vars(self) -> dict[str, str]:
        return {"THE_PASSWORD": "s3cret"}

    def get_profile_file_contents(
        self, profile_name: str, target_name: str = "dev", use_mock_values: bool = False
    ) -> str:
        password = "mock" if use_mock_values else "{{ env_var('THE_PASSWORD') }}"
        return f"{profile_name}: {{outputs: {{{target_name}: {{type: postgres, password: {password!r}}}}}}}\n"


def of_mapping() -> ProfileConfig:
    return ProfileConfig(profile_name="shop", target_name="dev", profile_mapping=SecretMapping())


def of_file(path: Path, target: str = "dev") -> ProfileConfig:
    return ProfileConfig(profile_name="shop", target_name=target, profiles_yml_filepath=path)


def test_a_profile_needs_exactly_one_source(tmp_path: Path) -> None:
    with pytest.raises(CosmosValueError, match=r"exactly one of .*; neither is given"):
        ProfileConfig(profile_name="shop", target_name="dev")
    with pytest.raises(CosmosValueError, match=r"exactly one of .*; both are given"):
        ProfileConfig("shop", "dev", tmp_path / "profiles.yml", SecretMapping())


def test_the_users_own_profile_is_used_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "profiles.yml").touch()

    with of_file(tmp_path / "profiles.yml").ensure_profile() as (path, env_vars):
        assert (path, env_vars) == (tmp_path / "profiles.yml", {})


def test_a_mapping_becomes_a_private_file_without_secrets_that_is_gone_afterwards() -> None:
    with of_mapping().ensure_profile() as (path, env_vars):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert "env_var('THE_PASSWORD')" in path.read_text()
        assert "s3cret" not in path.read_text()
        assert env_vars == {"THE_PASSWORD": "s3cret"}

    assert not path.parent.exists()


def test_an_own_file_of_another_name_is_the_one_that_dbt_reads(tmp_path: Path) -> None:
    """dbt is told a folder, and reads the profiles.yml there."""
    (tmp_path / "profiles.yml").write_text("another")
    own = tmp_path / "prod.yml"
    own.write_text("shop: {}")

    with of_file(own).ensure_profile() as (path, _):
        assert path.name == "profiles.yml"
        assert path.read_text() == "shop: {}"
        assert str(path.parent) in of_file(own).flags(path)

    assert not path.parent.exists()
    assert own.exists()


def test_the_profile_type_is_the_mappings_or_the_files(tmp_path: Path) -> None:
    own = tmp_path / "profiles.yml"
    own.write_text("shop: {target: dev, outputs: {dev: {type: duckdb}}}\n")

    assert of_mapping().get_profile_type() == "postgres"
    assert of_file(own).get_profile_type() == "duckdb"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("shop: {outputs: {dev: {type: duckdb}}}", r"no key 'prod' \(it has: dev\)", id="target-absent"),
        pytest.param("shop: text", "no key 'outputs'", id="no-mapping"),
        pytest.param("a: [", r"profiles\.yml cannot be read as YAML", id="not-yaml"),
    ],
)
def test_a_profile_type_that_cannot_be_found_is_a_clear_error(tmp_path: Path, text: str, words: str) -> None:
    own = tmp_path / "profiles.yml"
    own.write_text(text)

    with pytest.raises(CosmosValueError, match=words):
        of_file(own, target="prod").get_profile_type()


def test_an_own_profile_that_is_not_there_is_refused(tmp_path: Path) -> None:
    config = of_file(tmp_path / "absent.yml")

    with pytest.raises(CosmosValueError, match=r"profiles_yml_filepath: there is no profiles\.yml at .*absent\.yml"):
        config.validate_profiles_yml()
    with pytest.raises(CosmosValueError, match=r"there is no profiles\.yml at"), config.ensure_profile():
        pass


@pytest.mark.parametrize("name", ["profiles.yml", "prod.yml"])
def test_a_relative_path_is_one_of_the_workers_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dbt runs elsewhere, and would look for the folder there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dbt").mkdir()
    (tmp_path / "dbt" / name).write_text("shop: {}")

    with of_file(Path("dbt") / name).ensure_profile() as (path, _):
        monkeypatch.chdir("/")
        assert path.is_absolute()
        assert path.read_text() == "shop: {}"


@pytest.mark.timeout(20)
def test_an_own_profile_that_is_no_file_is_told_as_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "profiles.yml")

    with pytest.raises(CosmosValueError, match=r"profiles\.yml cannot be read: it is a named pipe, and no file that"):
        of_file(tmp_path / "profiles.yml").validate_profiles_yml()
    with pytest.raises(CosmosValueError, match=r"cannot be read: Is a directory"):
        of_file(tmp_path).validate_profiles_yml()
