"""Which execution modes run, and what is said of the others."""

from __future__ import annotations

import pytest

from cosmos_venv.config.execution import OFFERED, refuse_mode
from cosmos_venv.constants import ExecutionMode, SeedRenderingBehavior
from cosmos_venv.exceptions import CosmosValueError

ELSEWHERE = set(ExecutionMode) - set(OFFERED)


@pytest.mark.parametrize("mode", [ExecutionMode.LOCAL, ExecutionMode.VIRTUALENV, ExecutionMode.AIRFLOW_ASYNC])
def test_single_seeds_can_be_skipped_where_each_has_a_dbt_command(mode: ExecutionMode) -> None:
    refuse_mode(mode, SeedRenderingBehavior.WHEN_SEED_CHANGES)


@pytest.mark.parametrize("mode", sorted(ELSEWHERE, key=str))
def test_containers_and_clouds_are_refused_with_what_there_is_instead(mode: ExecutionMode) -> None:
    with pytest.raises(
        CosmosValueError, match=rf"{mode}: .* in no container or cloud service\. Use ExecutionMode\.VIRTUALENV"
    ):
        refuse_mode(mode, SeedRenderingBehavior.ALWAYS)


@pytest.mark.parametrize("mode", sorted({ExecutionMode.WATCHER, *ELSEWHERE}, key=str))
def test_what_contradicts_itself_is_said_before_what_is_lacking(mode: ExecutionMode) -> None:
    with pytest.raises(CosmosValueError, match=rf"WHEN_SEED_CHANGES does not go with .*{mode}, which cannot skip"):
        refuse_mode(mode, SeedRenderingBehavior.WHEN_SEED_CHANGES)
