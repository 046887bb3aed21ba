"""Private names of Airflow that ``cosmos_venv/compat.py`` uses are where each release of Airflow has them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_cosmos_venv import CosmosAirflow
from tests.installed import AIRFLOW_2, ENVIRONMENTS, IS_CI, OLDER_AIRFLOWS_3

AIRFLOWS = {
    "own": Path(sys.executable),
    "airflow2": AIRFLOW_2,
    **OLDER_AIRFLOWS_3,
    "airflow34": ENVIRONMENTS / "airflow34" / "bin" / "python",
}
_PARAMETERS = "BaseOperator.__init__._BaseOperatorMeta__param_names"
NAMES = {
    "2": (
        f"airflow.models.baseoperator:{_PARAMETERS}",
        "airflow.models.baseoperator:BaseOperator._set_relatives",
        "airflow.models.dag:DagContext.autoregistered_dags",
        "airflow.models.dag:DagContext.current_autoregister_module_name",
        "airflow.sensors.base:BaseSensorOperator._get_next_poke_interval",
    ),
    "3": (
        f"airflow.sdk:{_PARAMETERS}",
        "airflow.sdk:BaseOperator._set_relatives",
        "airflow.sdk:BaseOperator._convert__dag",
        "airflow.sdk:TaskGroup._check_for_group_id_collisions",
        "airflow.sdk.bases.decorator:get_unique_task_id",
        "airflow.sdk.bases.sensor:BaseSensorOperator._get_next_poke_interval",
        "airflow.sdk.definitions._internal.contextmanager:DagContext.autoregistered_dags",
        "airflow.sdk.definitions._internal.contextmanager:DagContext.current_autoregister_module_name",
        "airflow.sdk.definitions._internal.node:validate_key",
        "airflow.sdk.execution_time.task_runner:RuntimeTaskInstance.get_task_states",
        "airflow.sdk.execution_time.task_runner:__annotations__.SUPERVISOR_COMMS",
        "airflow.sdk.execution_time.task_runner:_push_xcom_if_needed",
        "airflow.sdk.execution_time.task_runner:parse",
        "airflow.utils.dag_cycle_tester:check_cycle",
    ),
    "3.4": ("airflow.sdk:DAG._warn_task_group_cycles", "airflow.sdk._shared.dagnode.cycle:detect_cycle"),
}
"""Module and attribute, or key, by the first number of the release, or by the release."""

LOOK = """
import importlib, json, sys
from cosmos_venv.compat import DAG, EmptyOperator, _NAME_OF_A_DAG_FILE, can_be_copied
from airflow import __version__

missing = []
names = json.loads(sys.argv[1])
for name in [*names[__version__[0]], *names.get(__version__[:3], [])]:
    module, _, path = name.partition(":")
    try:
        found = importlib.import_module(module)
        for part in path.split("."):
            found = found[part] if isinstance(found, dict) else getattr(found, part)
    except (ImportError, AttributeError, KeyError):
        missing.append(name)
with DAG("harbor", schedule=None):
    task = EmptyOperator(task_id="pier")
missing += [f"EmptyOperator.{name}" for name in ("_dag", "_BaseOperator__init_kwargs") if name not in vars(task)]
can_be_copied(task)
made = importlib.import_module("airflow.utils.file").get_unique_dag_module_name("/dags/harbor.py")
if not made.startswith(_NAME_OF_A_DAG_FILE):
    missing.append(f"the name of the module of a DAG file: {made}")
print("MISSING", json.dumps(missing))
"""


@pytest.mark.long
@pytest.mark.parametrize("release", AIRFLOWS)
def test_private_names_are_where_they_were_seen(release: str, cosmos_airflow: CosmosAirflow) -> None:
    python = AIRFLOWS[release]
    if not python.exists() and not IS_CI:
        pytest.skip(f"no {release} at .cache/envs: make test makes it")

    done = subprocess.run([python, "-c", LOOK, json.dumps(NAMES)], capture_output=True, text=True, check=False)

    (said,) = [line for line in done.stdout.splitlines() if line.startswith("MISSING")] or [done.stderr]
    assert said == "MISSING []"
