"""``dbt retry`` as an operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.local import DbtRetryLocalOperator
from tests.kit import operator_arguments


def test_dbt_retry_takes_what_the_other_run_was_told(tmp_path: Path) -> None:
    operator = DbtRetryLocalOperator(**operator_arguments(tmp_path, state="state"))

    command, _ = operator.build_cmd({})

    assert command == ["dbt", "retry"]


@pytest.mark.parametrize("parameter", ["select", "exclude", "selector", "models"])
def test_dbt_retry_refuses_to_choose_nodes(parameter: str, tmp_path: Path) -> None:
    words = f"{parameter}='orders' of DbtRetryLocalOperator: dbt retry runs what failed in the run of state"
    with pytest.raises(CosmosValueError, match=words):
        DbtRetryLocalOperator(**operator_arguments(tmp_path, state="state", **{parameter: "orders"}))


@pytest.mark.parametrize("given", [{}, {"state": "last_success"}])
def test_dbt_retry_needs_the_run_that_failed(given: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CosmosValueError, match=r"give the folder or URL with the manifest.json and run_results.json"):
        DbtRetryLocalOperator(**operator_arguments(tmp_path, **given))
