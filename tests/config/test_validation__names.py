"""A misspelt keyword of a configuration, a DAG or a group is refused, and the error lists similar keywords."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings
from typing import Any

import pytest

from cosmos_venv import DbtDag, DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.exceptions import CosmosValueError


@pytest.mark.parametrize(
    ("make", "given", "meant"),
    [
        pytest.param(RenderConfig, {"selct": ["a"]}, "'select' or 'selector'", id="render"),
        pytest.param(ExecutionConfig, {"virtualenvdir": "/e"}, "'virtualenv_dir'", id="execution"),
        pytest.param(ProjectConfig, {"dbt_project_pth": "/p"}, "'dbt_project_path'", id="project"),
        pytest.param(ProfileConfig, {"profile_maping": None}, "'profile_mapping'", id="profile"),
        pytest.param(
            DbtDag, {"dag_id": "a", "shedule": None, "project_config": None}, "'schedule'", id="dag-of-airflow"
        ),
        pytest.param(DbtDag, {"dag_id": "a", "profile_confg": None}, "'profile_config'", id="dag"),
        pytest.param(DbtTaskGroup, {"tooltp": "a"}, "'tooltip'", id="group-of-airflow"),
        pytest.param(DbtTaskGroup, {"rendr_config": None}, "'render_config'", id="group"),
    ],
)
def test_a_misspelt_keyword_is_refused_with_the_nearest(make: type, given: dict[str, Any], meant: str) -> None:
    if make in (DbtDag, DbtTaskGroup):
        given = {"project_config": ProjectConfig("/p"), **given}

    with pytest.raises(CosmosValueError, match=rf"^{make.__name__} takes no argument '\w+'\. Did you mean {meant}"):
        make(**given)


def test_a_keyword_like_no_other_is_to_be_dropped() -> None:
    with pytest.raises(CosmosValueError, match="RenderConfig takes no argument 'zzzz'"):
        RenderConfig(zzzz=1)  # type: ignore[call-arg]


def test_a_configuration_is_copied_pickled_and_described_as_before() -> None:
    config = RenderConfig(select=["a"])

    assert copy.deepcopy(config) == pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - our own
    assert [*inspect.signature(RenderConfig).parameters][:3] == ["emit_datasets", "test_behavior", "load_method"]


def test_a_warning_names_the_line_of_the_user() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        RenderConfig(dbt_deps=True)

    assert [each.filename for each in caught] == [__file__]


def test_a_class_of_the_user_may_pass_keywords_on() -> None:
    class Nightly(RenderConfig):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**{"select": ["tag:nightly"], **kwargs})

    assert Nightly(exclude=["a"]).exclude == ["a"]
