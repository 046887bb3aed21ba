"""What the four configurations take, refuse and give."""

from __future__ import annotations

import logging
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import (
    ExecutionMode,
    InvocationMode,
    LoadMode,
    SeedRenderingBehavior,
    SourceRenderingBehavior,
    TestBehavior,
    TestIndirectSelection,
)
from cosmos_venv.exceptions import CosmosConfigException, CosmosValueError


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


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "jaffle.shop"
    (folder / "models").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text("name: jaffle\n")
    return folder


# --- ProjectConfig


def test_a_project_is_named_after_its_folder_up_to_the_dot(project: Path) -> None:
    config = ProjectConfig(str(project))

    assert (config.dbt_project_path, config.project_name) == (project, "jaffle")
    assert (config.models_path, config.seeds_path) == (project / "models", project / "seeds")


def test_a_project_in_the_working_directory_has_a_name_too(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)

    assert ProjectConfig(".").project_name == "jaffle"


def test_a_project_config_of_nothing_has_an_empty_name_and_no_paths() -> None:
    config = ProjectConfig()

    assert config.project_name == ""
    assert (config.dbt_project_path, config.models_path, config.manifest_path) == (None, None, None)
    config.validate_project()


@pytest.mark.parametrize("given", ["manifest_path", "project_name"])
def test_a_manifest_and_a_name_without_a_project_path_come_together(given: str) -> None:
    arguments: dict[str, Any] = {given: "x"}

    with pytest.raises(CosmosValueError, match=f"got {given} but neither dbt_project_path nor"):
        ProjectConfig(**arguments)


def test_a_complete_project_is_valid(project: Path) -> None:
    (project / "manifest.json").write_text("{}")
    config = ProjectConfig(project, manifest_path=project / "manifest.json")

    config.validate_project()

    assert config.is_manifest_available()


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        pytest.param("dbt_project.yml", r"dbt_project_path: there is no dbt_project\.yml at .*jaffle\.shop", id="file"),
        pytest.param("models", r"models_relative_path: there is no models folder at .*models", id="models"),
        pytest.param("manifest.json", r"manifest_path: there is no manifest at .*manifest\.json", id="manifest"),
    ],
)
def test_validation_names_what_is_missing_and_where(project: Path, missing: str, words: str) -> None:
    (project / "manifest.json").write_text("{}")
    config = ProjectConfig(project, manifest_path=project / "manifest.json")
    gone = project / missing
    if gone.is_dir():
        gone.rmdir()
    else:
        gone.unlink()

    with pytest.raises(CosmosValueError, match=words):
        config.validate_project()


def test_a_project_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(CosmosValueError, match=r"dbt_project_path: there is no dbt_project\.yml at .*nowhere"):
        ProjectConfig(tmp_path / "nowhere").validate_project()


def test_a_manifest_elsewhere_than_on_this_machine_is_not_offered_yet() -> None:
    with pytest.raises(CosmosValueError, match=r"manifest_path=s3://b/m\.json: cosmos-venv does not have this yet"):
        ProjectConfig("shop", manifest_path="s3://b/m.json")


@pytest.mark.parametrize("name", ["env_vars", "dbt_vars"])
def test_variables_that_are_no_dict_are_refused(name: str) -> None:
    arguments: dict[str, Any] = {name: ["A=1"]}

    with pytest.raises(CosmosValueError, match=rf"ProjectConfig\.{name}=\['A=1'\] must be a dict"):
        ProjectConfig("shop", **arguments)


# --- ProfileConfig


def test_a_profile_needs_exactly_one_source(tmp_path: Path) -> None:
    with pytest.raises(CosmosValueError, match=r"exactly one of .*; neither is given"):
        ProfileConfig(profile_name="shop", target_name="dev")
    with pytest.raises(CosmosValueError, match=r"exactly one of .*; both are given"):
        ProfileConfig("shop", "dev", tmp_path / "profiles.yml", SecretMapping())


def test_the_users_own_profile_is_used_where_it_lies(tmp_path: Path) -> None:
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


def test_the_profile_is_gone_after_an_error_too() -> None:
    with pytest.raises(RuntimeError, match="dbt broke"), of_mapping().ensure_profile() as (path, _):
        raise RuntimeError("dbt broke")

    assert not path.parent.exists()


def test_a_mock_profile_needs_no_variables() -> None:
    with of_mapping().ensure_profile(use_mock_values=True) as (path, env_vars):
        assert env_vars == {}
        assert "mock" in path.read_text()


def test_the_profile_type_is_the_mappings_or_the_files(tmp_path: Path) -> None:
    own = tmp_path / "profiles.yml"
    own.write_text("shop: {target: dev, outputs: {dev: {type: duckdb}}}\n")

    assert of_mapping().get_profile_type() == "postgres"
    assert of_file(own).get_profile_type() == "duckdb"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("shop: {outputs: {dev: {type: duckdb}}}", r"no key 'prod' \(it has: dev\)", id="target-absent"),
        pytest.param("other: {}", r"no key 'shop' \(it has: other\)", id="profile-absent"),
        pytest.param("shop: text", "no key 'outputs'", id="no-mapping"),
        pytest.param("shop: {outputs: {prod: {}}}", "no key 'type'", id="type-absent"),
        pytest.param("a: [", r"profiles\.yml is not YAML", id="not-yaml"),
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


# --- ExecutionConfig


def test_execution_is_local_by_default_and_finds_dbt_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dbt = tmp_path / "dbt"
    dbt.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    config = ExecutionConfig()

    assert config.execution_mode is ExecutionMode.LOCAL
    assert config.test_indirect_selection is TestIndirectSelection.EAGER
    assert config.dbt_executable_path == str(dbt)


def test_without_a_dbt_on_the_path_its_name_remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert ExecutionConfig().dbt_executable_path == "dbt"


def test_the_execution_project_path_is_kept_as_project_path(tmp_path: Path) -> None:
    config = ExecutionConfig(dbt_project_path=str(tmp_path))

    assert config.project_path == tmp_path
    assert getattr(config, "dbt_project_path", "absent") is None


def test_virtualenv_mode_starts_dbt_as_a_process() -> None:
    assert ExecutionConfig(ExecutionMode.VIRTUALENV).invocation_mode is InvocationMode.SUBPROCESS


def test_virtualenv_mode_refuses_the_runner_inside_the_worker() -> None:
    with pytest.raises(CosmosValueError, match=r"DBT_RUNNER does not go with ExecutionMode\.VIRTUALENV"):
        ExecutionConfig(ExecutionMode.VIRTUALENV, InvocationMode.DBT_RUNNER)


def test_local_mode_has_no_runner_inside_the_worker_yet() -> None:
    with pytest.raises(CosmosValueError, match=r"does not have this yet; use InvocationMode\.SUBPROCESS"):
        ExecutionConfig(invocation_mode=InvocationMode.DBT_RUNNER)


@pytest.mark.parametrize("mode", sorted(set(ExecutionMode) - {ExecutionMode.LOCAL, ExecutionMode.VIRTUALENV}, key=str))
def test_other_modes_are_refused_with_what_there_is(mode: ExecutionMode) -> None:
    with pytest.raises(CosmosValueError, match=rf"execution_mode={mode}: .* use ExecutionMode\.VIRTUALENV"):
        ExecutionConfig(mode)


def test_an_invocation_mode_does_not_go_with_containers() -> None:
    with pytest.raises(CosmosValueError, match=r"invocation_mode .* does not go with ExecutionMode\.DOCKER"):
        ExecutionConfig(ExecutionMode.DOCKER, InvocationMode.SUBPROCESS)


def test_a_virtualenv_dir_in_another_mode_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ExecutionConfig(virtualenv_dir="envs")

    assert "virtualenv_dir envs is ignored" in caplog.text


# --- RenderConfig


def test_rendering_defaults_are_those_of_cosmos() -> None:
    config = RenderConfig()

    assert config.load_method is LoadMode.AUTOMATIC
    assert config.test_behavior is TestBehavior.AFTER_EACH
    assert config.source_rendering_behavior is SourceRenderingBehavior.NONE
    assert config.seed_rendering_behavior is SeedRenderingBehavior.ALWAYS
    assert (config.select, config.exclude, config.selector) == ([], [], None)
    assert (config.emit_datasets, config.enable_mock_profile, config.ephemeral_models_as_empty_operator) == (True,) * 3


@pytest.mark.parametrize(
    ("make", "attribute", "expected"),
    [
        (lambda: RenderConfig(test_behavior="none"), "test_behavior", TestBehavior.NONE),  # type: ignore[arg-type]
        (lambda: RenderConfig(load_method="dbt_ls"), "load_method", LoadMode.DBT_LS),  # type: ignore[arg-type]
        (lambda: ExecutionConfig("virtualenv"), "execution_mode", ExecutionMode.VIRTUALENV),  # type: ignore[arg-type]
    ],
    ids=["test_behavior", "load_method", "execution_mode"],
)
def test_the_exact_text_of_an_enum_is_taken_for_it(make: Any, attribute: str, expected: object) -> None:
    assert getattr(make(), attribute) is expected


def test_another_text_is_refused_with_all_that_there_is() -> None:
    with pytest.raises(
        CosmosValueError,
        match=r"RenderConfig\.test_behavior='never' is none of TestBehavior\.BUILD, TestBehavior\.NONE",
    ):
        RenderConfig(test_behavior="never")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"load_method": LoadMode.CUSTOM}, r"load_method=LoadMode\.CUSTOM: .* use LoadMode\.DBT_LS"),
        ({"load_method": LoadMode.DBT_LS_FILE}, r"load_method=LoadMode\.DBT_LS_FILE"),
        ({"load_method": LoadMode.DBT_LS_CACHE}, r"load_method=LoadMode\.DBT_LS_CACHE"),
        ({"seed_rendering_behavior": SeedRenderingBehavior.WHEN_SEED_CHANGES}, "seed_rendering_behavior=.* not have"),
        ({"source_rendering_behavior": SourceRenderingBehavior.ALL}, "source_rendering_behavior=.* not have this yet"),
        ({"group_nodes_by_folder": True}, "group_nodes_by_folder=True: .* use the default"),
        ({"should_detach_multiple_parents_tests": True}, "should_detach_multiple_parents_tests=True"),
        ({"normalize_task_id": str}, "normalize_task_id="),
        ({"normalize_task_display_name": str}, "normalize_task_display_name="),
        ({"node_converters": {"model": str}}, "node_converters="),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_not_offered_yet_is_refused_and_never_ignored(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(CosmosValueError, match=words):
        RenderConfig(**arguments)


def test_change_detection_of_seeds_contradicts_dbt_build() -> None:
    with pytest.raises(CosmosValueError, match="WHEN_SEED_CHANGES does not go with test_behavior BUILD"):
        RenderConfig(test_behavior=TestBehavior.BUILD, seed_rendering_behavior=SeedRenderingBehavior.WHEN_SEED_CHANGES)


@pytest.mark.parametrize("name", ["select", "exclude"])
def test_a_selection_that_is_one_text_is_refused(name: str) -> None:
    arguments: dict[str, Any] = {name: "tag:daily"}

    with pytest.raises(CosmosValueError, match=rf"RenderConfig\.{name}='tag:daily' must be a list"):
        RenderConfig(**arguments)


def test_source_rendering_of_none_is_taken_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="source_rendering_behavior None") as caught:
        config = RenderConfig(source_rendering_behavior=None)  # type: ignore[arg-type]

    assert config.source_rendering_behavior is SourceRenderingBehavior.NONE
    assert caught[0].filename == __file__


@pytest.mark.parametrize("arguments", [{"env_vars": {"A": "1"}}, {"dbt_deps": False}], ids=["env_vars", "dbt_deps"])
def test_old_parameters_work_with_a_warning_at_the_users_line(arguments: dict[str, Any]) -> None:
    with pytest.warns(DeprecationWarning, match=f"RenderConfig.{next(iter(arguments))} is deprecated") as caught:
        RenderConfig(**arguments)

    assert caught[0].filename == __file__


def test_an_own_dbt_for_parsing_needs_the_subprocess_mode() -> None:
    with pytest.raises(
        CosmosValueError, match=r"dbt_executable_path other-dbt .* invocation_mode=InvocationMode\.SUBPR"
    ):
        RenderConfig(dbt_executable_path="other-dbt")

    assert RenderConfig(dbt_executable_path="o", invocation_mode=InvocationMode.SUBPROCESS).has_own_executable


def test_the_fallback_dbt_is_kept_when_it_is_the_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    other = tmp_path / "other-dbt"
    other.touch(mode=0o755)
    config = RenderConfig()

    config.validate_dbt_command(other)

    assert config.dbt_executable_path == other


def test_no_dbt_to_parse_with_is_an_error_that_says_what_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(CosmosConfigException, match="neither 'dbt' nor 'other-dbt' can be run"):
        RenderConfig().validate_dbt_command("other-dbt")


def test_the_render_project_names_itself() -> None:
    assert RenderConfig(dbt_project_path="some/shop.v2").project_name == "shop"
    assert RenderConfig().project_name == ""


def test_a_dbt_ls_file_is_available_when_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "ls.jsonl").touch()

    assert RenderConfig(dbt_ls_path=tmp_path / "ls.jsonl").is_dbt_ls_file_available()
    assert not RenderConfig(dbt_ls_path=tmp_path / "absent").is_dbt_ls_file_available()


@pytest.mark.parametrize("module", ["cosmos_venv.config", "cosmos_venv.rendering.plan", "cosmos_venv.project.load"])
def test_configuring_and_planning_import_no_airflow(module: str) -> None:
    code = f"import sys, {module}; sys.exit('airflow' in sys.modules or 'yaml' in sys.modules)"

    completed = subprocess.run([sys.executable, "-c", code], check=False)

    assert completed.returncode == 0
