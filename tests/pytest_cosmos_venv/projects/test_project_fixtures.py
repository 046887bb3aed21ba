"""What does a test get from the fixtures of this room, and what does it read when it asks for the impossible?"""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]


def test_the_fixtures_from_outside(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def dbt_project():
            return "mine"
        """
    )
    pytester.makepyfile(
        """
        import json
        import threading
        import urllib.request

        def test_a_project(cosmos_dbt_project, tmp_path, dbt_project):
            project = cosmos_dbt_project("harbor")
            project.seed("piers", "id,name\\n1,North\\n")
            project.model("staging", "select * from {{ ref('piers') }}", tags=["daily"])

            nodes = json.loads(project.manifest().read_text())["nodes"]
            assert nodes["model.harbor.staging"]["depends_on"]["nodes"] == ["seed.harbor.piers"]
            assert project.path == tmp_path / "harbor"
            assert project.profiles_yml.exists()
            assert dbt_project == "mine"

        def test_two_projects(cosmos_dbt_project):
            assert cosmos_dbt_project("harbor").path != cosmos_dbt_project("quay").path

        def test_a_large_one_over_http(cosmos_dbt_project, cosmos_http_manifest):
            manifest = cosmos_http_manifest(cosmos_dbt_project.large(models=20))
            with urllib.request.urlopen(manifest.url) as response:
                assert len(json.load(response)["nodes"]) >= 20

        def test_nothing_stays():
            assert threading.active_count() == 1

        def test_a_name_twice(cosmos_dbt_project):
            project = cosmos_dbt_project("harbor")
            project.seed("piers", "id\\n1\\n")
            project.model("piers", "select 1")

        def test_no_such_parent(cosmos_dbt_project):
            project = cosmos_dbt_project("harbor")
            project.model("staging", "select * from {{ ref('piers') }}")
            project.manifest()

        def test_a_script_that_cannot_be(cosmos_http_manifest):
            cosmos_http_manifest({}).answer(500, truncated=True)
        """
    )

    result = pytester.runpytest_subprocess("-p", "no:randomly")

    result.assert_outcomes(passed=4, failed=3)
    result.stdout.fnmatch_lines(
        [
            "There is a seed 'piers' in project 'harbor' already (seeds/piers.csv): edit('piers', *",
            "models/staging.sql reads ref('piers'), which is not there*",
            "answer(500, truncated=True): only the manifest itself (200) is truncated.",
        ]
    )
    result.stdout.no_fnmatch_line("*/pytest_cosmos_venv/*")
