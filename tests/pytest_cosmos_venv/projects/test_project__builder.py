"""A project says what a test author wrote down, and refuses in a sentence what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import CosmosProject, DbtProject
from pytest_cosmos_venv.errors import ToolkitMisuse


@pytest.fixture
def projects(tmp_path: Path) -> CosmosProject:
    return CosmosProject(folder=tmp_path)


@pytest.fixture
def harbor(projects: CosmosProject) -> DbtProject:
    project = projects("harbor")
    project.seed("piers", "id,name\n1,North\n")
    project.model("staging/stg_piers", "select * from {{ ref('piers') }}", tags=["daily"], tests={"id": ["unique"]})
    return project


def test_the_files_of_a_project_are_there_as_soon_as_they_are_told(harbor: DbtProject) -> None:
    files = sorted(str(file.relative_to(harbor.path)) for file in harbor.path.rglob("*") if file.is_file())

    assert files == [
        "dbt_project.yml",
        "models/staging/stg_piers.sql",
        "models/staging/stg_piers.yml",
        "profiles.yml",
        "seeds/piers.csv",
    ]
    assert harbor.file("stg_piers").read_text("utf-8") == "select * from {{ ref('piers') }}"


def test_a_manifest_is_written_where_it_is_wanted(harbor: DbtProject, tmp_path: Path) -> None:
    at_home, elsewhere = harbor.manifest(), harbor.manifest(tmp_path / "artifacts" / "manifest.json")

    assert at_home == harbor.path / "target" / "manifest.json"
    assert json.loads(elsewhere.read_text("utf-8")) == json.loads(at_home.read_text("utf-8")) == harbor.manifest_data()
    node = harbor.manifest_data()["nodes"]["model.harbor.stg_piers"]
    assert (node["tags"], node["depends_on"]["nodes"]) == (["daily"], ["seed.harbor.piers"])


def test_the_manifest_of_an_unchanged_project_is_the_same_to_the_byte(harbor: DbtProject) -> None:
    assert harbor.manifest().read_bytes() == harbor.manifest().read_bytes()


def test_an_edit_changes_the_file_and_its_checksum_and_keeps_line_endings(harbor: DbtProject) -> None:
    before = harbor.manifest_data()["nodes"]["seed.harbor.piers"]["checksum"]

    harbor.edit("piers", "id,name\r\n1,South\r\n")

    assert harbor.file("piers").read_bytes() == b"id,name\r\n1,South\r\n"
    assert harbor.manifest_data()["nodes"]["seed.harbor.piers"]["checksum"] != before


def test_what_a_test_writes_itself_counts(harbor: DbtProject) -> None:
    harbor.file("stg_piers").write_text("select 1", "utf-8")

    assert harbor.manifest_data()["nodes"]["model.harbor.stg_piers"]["depends_on"]["nodes"] == []


def test_what_is_deleted_is_gone_from_disk_and_manifest(harbor: DbtProject) -> None:
    harbor.delete("stg_piers")

    assert [file for file in (harbor.path / "models").rglob("*") if file.is_file()] == []
    assert list(harbor.manifest_data()["nodes"]) == ["seed.harbor.piers"]


def test_the_profile_of_postgres_has_defaults_that_can_be_replaced(projects: CosmosProject) -> None:
    project = projects("harbor", profile={"type": "postgres", "schema": "marts"})
    project.model("dim", "select 1 as id")

    assert project.profile.document["harbor"]["outputs"]["dev"]["dbname"] == "harbor"
    assert project.manifest_data()["nodes"]["model.harbor.dim"]["relation_name"] == '"harbor"."marts"."dim"'
    assert project.manifest_data()["metadata"]["adapter_type"] == "postgres"


def _misuse(make: Any) -> str:
    with pytest.raises(ToolkitMisuse) as raised:
        make()
    return str(raised.value)


def test_every_misuse_of_the_builder_is_one_sentence_that_names_the_way_out(
    harbor: DbtProject, projects: CosmosProject
) -> None:
    source: dict[str, Any] = {"tables": "ships"}
    for make, words in [
        (
            lambda: harbor.model("marts/piers", "select 1"),
            "There is a node 'piers' in project 'harbor' already: edit('piers', ",
        ),
        (lambda: harbor.model("1st", "select 1"), "'1st' is no name for a model: letters, digits"),
        (lambda: harbor.model("marts//dim", "select 1"), "'' is no name for a model"),
        (
            lambda: harbor.model("dim", "x", tests={"id": "unique"}),
            "tests= of dim: 'unique' stands alone; give a list: ['unique']",
        ),
        (lambda: harbor.model("dim", "x", tag=["a"]), "dim has no configuration tag: did you mean tags?"),
        (lambda: harbor.source("raw", **source), "tables='ships' of source 'raw': give a list, such as ['ships']."),
        (lambda: harbor.edit("stg_pier", "x"), "There is no 'stg_pier' in project 'harbor': there is piers, stg_piers"),
        (lambda: harbor.delete("ships"), "There is no 'ships' in project 'harbor': there is piers"),
        (lambda: projects("har-bor"), "'har-bor' is no name for a project"),
        (lambda: projects("quay", profile={"type": "snowflake"}), "a profile of type snowflake has to be given whole"),
        (lambda: projects.large(models=3), "large(models=3): a large project has at least 10 models."),
    ]:
        assert words in _misuse(make)
    # What was refused has left nothing in the way.
    assert projects.large(models=10).name == "large"


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select * from {{ ref('pier') }}", "'model.harbor.dim' (models/dim.sql) depends on a node named 'pier' which"),
        ("select * from {{ ref('off') }}", "depends on a node named 'off' which is disabled. Correct"),
        ("select * from {{ source('raw', 'ships') }}", "depends on a source named 'raw.ships' which was not found."),
        ("select * from {{ ref('harbor', 'pier', v=2) }}", "'pier' with version '2' in package or project 'harbor' "),
        (
            "{% for each in run_query('x') %}{{ ref(each) }}{% endfor %}",
            "ref(each) in models/dim.sql cannot be read without dbt. Write it out",
        ),
    ],
)
def test_what_dbt_would_refuse_is_refused_by_the_manifest(harbor: DbtProject, sql: str, words: str) -> None:
    harbor.model("off", "select 1", enabled=False)
    harbor.model("dim", sql)

    assert words in _misuse(harbor.manifest)


def test_a_copy_of_a_project_is_changed_and_the_original_is_not(
    harbor: DbtProject, projects: CosmosProject, tmp_path: Path
) -> None:
    copies = CosmosProject(folder=tmp_path / "copies")
    copy = copies.copy(harbor.path)
    copy.edit("stg_piers", "select 2 as id")
    copy.model("late", "select * from {{ ref('piers') }}")

    nodes = json.loads(copy.manifest().read_bytes())["nodes"]

    assert {"seed.harbor.piers", "model.harbor.stg_piers", "model.harbor.late"} <= nodes.keys()
    assert copy.profiles_yml.read_text().startswith("harbor:")
    assert "select 2 as id" not in harbor.file("stg_piers").read_text()
    assert not (harbor.path / "models" / "late.sql").exists()
    assert "There is a node 'piers' in project 'harbor' already" in _misuse(lambda: copy.model("piers", "select 1"))
    assert "each project is copied once" in _misuse(lambda: copies.copy(harbor.path))
    assert "there is no dbt_project.yml in it; give the folder of a dbt project" in _misuse(
        lambda: copies.copy(tmp_path)
    )


@pytest.mark.parametrize(
    ("python", "words"),
    [
        ("def model(dbt, session): return dbt.ref(name)", "ref(name) in models/dim.py cannot be read without dbt"),
        ("def model(", "'(' was never closed (line 1) in models/dim.py cannot be read without dbt"),
    ],
)
def test_a_python_model_that_cannot_be_read_is_refused(harbor: DbtProject, python: str, words: str) -> None:
    harbor.write("models/dim.py", python)

    assert words in _misuse(harbor.manifest)


@pytest.mark.long
def test_a_large_project_has_its_models_in_the_manifest_alone(projects: CosmosProject) -> None:
    project = projects.large(models=5000)
    nodes = json.loads(project.manifest().read_bytes())["nodes"]

    assert sum(node["resource_type"] == "model" for node in nodes.values()) == 5000
    assert sum(len(node["depends_on"]["nodes"]) for node in nodes.values()) > 10_000
    assert not (project.path / "models").exists()


def test_a_large_project_is_the_same_each_time_and_can_be_changed(projects: CosmosProject) -> None:
    first, second = (projects.large(models=200, name=name) for name in ("one", "two"))
    second.delete("fct_00000")

    ones, twos = (
        {
            name.replace(".two.", ".one."): node["depends_on"]["nodes"]
            for name, node in project.manifest_data()["nodes"].items()
        }
        for project in (first, second)
    )

    assert ones.keys() - twos.keys() == {name for name in ones if "fct_00000" in name}
    assert all(twos[name] == [parent.replace(".one.", ".two.") for parent in ones[name]] for name in twos)


def test_a_large_project_can_lie_on_the_disk(projects: CosmosProject) -> None:
    on_disk, in_memory = projects.large(models=30, name="one", files=True), projects.large(models=30, name="two")

    assert len(list((on_disk.path / "models").rglob("*.sql"))) == 30
    assert len(on_disk.manifest_data()["nodes"]) == len(in_memory.manifest_data()["nodes"])
