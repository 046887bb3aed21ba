"""dbt ls with dbt 2, which neither reads nor writes the parse file of dbt 1, as a program and behind a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.config import ProjectConfig, RenderConfig
from cosmos_venv.constants import InvocationMode, LoadMode
from cosmos_venv.project.dbt_ls_runner import open_question, prepared
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

    with open_question(request) as question:
        asked = prepared(request, question)

    assert (asked.parsed is not None) is is_offered
