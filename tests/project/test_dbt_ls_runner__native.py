"""dbt ls with dbt 2, which neither reads nor writes the parse file of dbt 1, as a program and behind a script."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cosmos_venv.config import ProjectConfig, RenderConfig
from cosmos_venv.constants import InvocationMode, LoadMode
from cosmos_venv.project.dbt_ls_runner import open_question, order_of
from cosmos_venv.project.graph import DbtGraph
from tests.installed import environment_of
from tests.kit import harbor_profile


def graph(project: Path, dbt: Path) -> DbtGraph:
    return DbtGraph(
        project=ProjectConfig(project, install_dbt_deps=False),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_LS, dbt_executable_path=dbt, invocation_mode=InvocationMode.SUBPROCESS
        ),
        profile_config=harbor_profile(project),
    )


@pytest.mark.parametrize(("release", "is_offered"), [("dbt111", True), ("dbt2", False)])
def test_a_parse_file_is_offered_to_dbt_1_alone(release: str, is_offered: bool, dbt_project: Path) -> None:
    """The file would be found again behind dbt 2, and be taken for what it has noted."""
    request = graph(dbt_project, environment_of(release) / "bin" / "dbt").request()

    with open_question(request, report=lambda _: None) as question:
        order = order_of(request, question)

    assert (order.parsed is not None) is is_offered


@pytest.mark.long
@pytest.mark.parametrize(("release", "port", "kept"), [("dbt111", "PORT", True), ("dbt2", "BERTH", False)])
def test_a_parse_file_of_dbt_1_says_nothing_of_what_dbt_2_has_read_behind_a_script(
    release: str, port: str, kept: bool, dbt_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is offered stays where dbt 1 has found nothing changed, and where dbt 2 has not looked at it."""
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    model = dbt_project / "models" / "berths.sql"
    model.write_text("{{ config(tags=[env_var('PORT_' ~ 'dev')]) }} select 1 as id")
    monkeypatch.setenv("PORT_dev", "north")
    dbt_1 = str(environment_of("dbt111") / "bin" / "dbt")
    subprocess.run([dbt_1, "--quiet", "parse", "--profiles-dir", str(dbt_project)], cwd=dbt_project, check=True)
    model.write_text(f"{{{{ config(tags=[env_var('{port}_' ~ 'dev')]) }}}} select 1 as id")
    script = tmp_path / "dbt"
    script.write_text(f"#!/bin/sh\nexec '{environment_of(release)}/bin/dbt' \"$@\"\n")
    script.chmod(0o755)

    tags, versions = [], []
    for value in ("north", "south"):
        monkeypatch.setenv(f"{port}_dev", value)
        loaded = graph(dbt_project, script)
        loaded.load()
        tags += loaded.nodes["model.harbor.berths"].tags
        versions.append(loaded.loaded_version)

    assert tags == ["north", "south"]
    assert [version is not None for version in versions] == [kept, kept]
