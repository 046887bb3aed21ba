"""The words of each task, as a real dbt resolves them, are exactly what the plan shows for it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from tests.engines import DBT_1, ENGINES, Engine
from tests.rendering.asked_dbt import AskedDbt, DbtOfCommands, ProjectRefused, asked_dbt
from tests.rendering.drawn_projects import drawn_projects
from tests.rendering.words_of_tasks import judge_words

PROOF = [pytest.mark.long, pytest.mark.proof]
FEW = settings(
    max_examples=10, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
DRAWN = settings(FEW, max_examples=40)


@pytest.fixture(scope="module")
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AskedDbt]:
    engine: Engine = request.param
    engine.require()
    with asked_dbt(engine, tmp_path_factory.mktemp("dbt") / engine.name) as found:
        yield found


def check(data: st.DataObject, asked: AskedDbt, tmp_path: Path) -> None:
    project = data.draw(drawn_projects(with_spaces=not isinstance(asked, DbtOfCommands)))  # dbt 2 refuses spaces
    with tempfile.TemporaryDirectory(dir=tmp_path) as name:
        try:
            judged = judge_words(project, asked, Path(name, "shop"))
        except ProjectRefused:
            reject()
    assert not judged.wrong


@pytest.mark.parametrize("asked", [pytest.param(DBT_1, id=DBT_1.name, marks=PROOF)], indirect=True)
@DRAWN
@given(data=st.data())
def test_each_task_runs_what_the_plan_shows_for_it_and_all_tasks_together_the_selection(
    data: st.DataObject, asked: AskedDbt, tmp_path: Path
) -> None:
    check(data, asked, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(
    "asked", [pytest.param(engine, id=engine.name) for engine in ENGINES if engine is not DBT_1], indirect=True
)
@FEW
@given(data=st.data())
def test_each_task_runs_what_the_plan_shows_for_it_with_the_other_releases(
    data: st.DataObject, asked: AskedDbt, tmp_path: Path
) -> None:
    check(data, asked, tmp_path)
