"""The table of forms in forms.md: each argument that Cosmos takes, and what comes of it here.

What a form makes is compared with what Cosmos makes of it, from outside.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cosmos_venv import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from tests.installed import ENVIRONMENTS, is_missing
from tests.project.ls_place import writing
from tests.rendering.recorded_project import RECORDED
from tests.whole import forms

PAGE = Path(__file__).with_name("forms.md").read_text(encoding="utf-8")
COSMOS = ENVIRONMENTS / "cosmos" / "bin" / "python"
# The parameters of its operators in LOCAL and VIRTUALENV mode, beside those of Airflow's BaseOperator.
OF_OPERATORS = """
append_env args cache_dir cache_selected_only callback callback_args cancel_query_on_kill conn_id copy_dbt_packages
db_name dbt_cmd_flags dbt_cmd_global_flags dbt_executable_path dbt_runner_callbacks emit_datasets env exclude
extra_context fail_fast full_refresh indirect_selection install_deps interceptors invocation_mode
is_virtualenv_dir_temporary log_format macro_name manifest_filepath models no_version_check on_warning_callback
output_encoding partial_parse pip_install_options project_dir py_requirements py_system_site_packages quiet schema
select selector should_store_compiled_sql should_upload_compiled_sql skip_exit_code vars virtualenv_dir warn_error
""".split()
# Arguments that Cosmos does not have.
BEYOND = {
    "allow_empty_selection",
    "batch_by",
    "dbt_project_conn_id",
    "notify_owners",
    "run_artifacts",
    "run_hooks_once",
    "run_summary",
    "wait_for_sources",
}


def rows() -> dict[tuple[str, ...], str]:
    """What the page says of each form: the form as its expressions, and the cell beside it."""
    cells = (line.strip("| ").split(" | ") for line in PAGE.splitlines() if line[:3] == "| `")
    return {tuple(re.findall(r"`([^`]+)`", form)): cell for form, cell in cells}


ROWS = rows()
REFUSED = {form: cell for form, cell in ROWS.items() if cell.startswith("refused")}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project of the forms, and a dbt that lists its nodes, and writes its manifest as dbt does then."""
    monkeypatch.setenv("AIRFLOW__COSMOS__ENABLE_CACHE", "False")
    shutil.copytree(RECORDED, tmp_path / "project")
    (tmp_path / "project" / "models").mkdir(exist_ok=True)
    answer = writing(tmp_path / "project" / "manifest.json")
    (tmp_path / "dbt").write_text(f"#!/bin/sh\n{answer}\ncat '{tmp_path}/project/dbt_ls.jsonl'\n")
    (tmp_path / "dbt").chmod(0o755)
    return tmp_path


def test_the_table_has_each_argument_that_cosmos_takes() -> None:
    owners = (ProjectConfig, ProfileConfig, ExecutionConfig, RenderConfig)
    taken = {(each.__name__, name) for each in owners for name in inspect.signature(each).parameters}
    taken |= {("operator_args", name) for name in OF_OPERATORS}

    written: set[tuple[str, str]] = set()
    for each in (expression for form in ROWS for expression in form):
        owner, arguments = re.findall(r"^(\w+)[(=](.*)", each)[0]
        written |= {(owner, name) for name in re.findall(r"\b(\w+)(?:=|':)", arguments)}
    assert {name for name in taken - written if name[1] not in BEYOND} == set()


@pytest.mark.parametrize("form", REFUSED, ids=" ".join)
def test_a_form_is_refused_with_the_sentence_of_the_table(form: tuple[str, ...], folder: Path) -> None:
    made = forms.made("cosmos_venv", form, folder)

    assert f"refused: `{made['error']}`" == REFUSED[form]


@pytest.mark.long
def test_each_form_makes_what_the_table_says_beside_cosmos(folder: Path, tmp_path: Path) -> None:
    if is_missing(COSMOS):
        pytest.skip("no Cosmos at .cache/envs/cosmos: make test makes it")
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path / "airflow"), "PYTHONPATH": ""}
    command = [str(COSMOS), str(Path(forms.__file__)), "cosmos", str(folder), json.dumps(list(ROWS))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    wrong = []
    for (form, cell), theirs in zip(ROWS.items(), json.loads(done.stdout), strict=True):
        ours = json.loads(json.dumps(forms.made("cosmos_venv", form, folder)))
        wanted = f"refused: `{ours['error']}`" if "error" in ours else "same" if ours == theirs else "other: "
        if not (cell.startswith(wanted) if wanted == "other: " else cell == wanted):
            wrong.append(f"{form}: {wanted!r}, and the page says {cell!r}; Cosmos: {theirs.get('error', 'builds it')}")
    assert wrong == []
