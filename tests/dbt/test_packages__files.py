"""Which installations of packages are the same: what counts of the files that ask for them."""

from __future__ import annotations

import pytest

from tests.dbt.harbor import Project


@pytest.mark.parametrize(
    ("change", "is_another"),
    [
        pytest.param({"which_dbt": "2"}, True, id="another-dbt"),
        pytest.param({"variables": "day: Monday"}, False, id="vars-that-nobody-reads"),
        pytest.param({"PORT": "1"}, False, id="environment-that-nobody-reads"),
        pytest.param({"DBT_PACKAGE_HUB_URL": "https://hub.example"}, True, id="another-hub"),
    ],
)
def test_what_counts_without_jinja(project: Project, change: dict[str, str], is_another: bool) -> None:
    assert (project.digest(**change) != project.digest()) is is_another


@pytest.mark.parametrize(
    ("change", "is_another"),
    [
        pytest.param({"variables": "day: Monday"}, True, id="vars"),
        pytest.param({"REVISION": "v2"}, True, id="a-variable-that-is-named"),
        pytest.param({"DBT_ENV_SECRET_TOKEN": "s3cret"}, False, id="a-password"),
        pytest.param({"PORT": "1"}, False, id="another-variable"),
    ],
)
def test_what_counts_with_jinja(project: Project, change: dict[str, str], is_another: bool) -> None:
    (project.path / "packages.yml").write_text(
        "packages:\n  - git: \"https://{{ env_var('DBT_ENV_SECRET_TOKEN') }}@example.com/cranes.git\"\n"
        "    revision: \"{{ env_var('REVISION', 'v1') }}\"\n"
    )

    assert (project.digest(**change) != project.digest()) is is_another


@pytest.mark.parametrize(
    "file", ["packages.yml", "package-lock.yml", "../shared/packages.yml", "../shared/dbt_project.yml"]
)
def test_each_file_counts_also_those_of_local_packages(project: Project, file: str) -> None:
    before = project.digest()

    (project.path / file).write_text("packages:\n  - package: port/other\n  - local: ../shared\n")

    assert project.digest() != before


@pytest.mark.parametrize(
    "entry",
    ["local: \"{{ env_var('WHERE') }}\"", 'git: "{{ env_var(which) }}"', "git: [unclosed"],
    ids=["local-path", "variable", "not-yaml"],
)
def test_what_only_dbt_can_tell_is_never_shared(project: Project, entry: str) -> None:
    (project.path / "packages.yml").write_text(f"packages:\n  - {entry}\n")

    assert project.digest() is None
    with project.installed(), project.installed():
        pass
    assert project.installations == 2
