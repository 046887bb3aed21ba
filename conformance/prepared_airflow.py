"""Parts of Airflow, the toolkit and the suite that a process imports before tasks are forked from it.

A task under Airflow 3 spends five seconds of CPU on building Airflow's API before it begins; here they are spent once.
Nothing is started and nothing connected. What a version of Airflow does not have is left to the runs themselves. Wrong
names are ignored; ``tests/conformance/test_adapter.py`` finds them.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from importlib import import_module
from typing import Any

_MODULES = (
    "a2wsgi",
    "airflow.dag_processing.bundles.manager",
    "airflow.models.dagrun",
    "airflow.providers.standard.operators.empty",
    "airflow.sdk.definitions.connection",
    "airflow.sdk.execution_time.cache",
    "airflow.sdk.execution_time.task_runner",
    "airflow.sdk.observability.stats",
    "airflow.serialization.serialized_objects",
    "pytest_cosmos_venv.runs.running",
    "pytest_cosmos_venv.airflow.variables",
    "pytest_cosmos_venv.environments.fake_venv",
    "pytest_cosmos_venv.projects.manifest",
    "pytest_cosmos_venv.seeds.ready_made",
    "pytest_cosmos_venv.seeds.scenarios",
    "pytest_cosmos_venv.seeds.environment",
    f"{__package__}.harness.probes",
    f"{__package__}.harness.seed_scenarios",
    f"{__package__}.harness.task_process",
)


def _prepare_models() -> None:
    import_module("airflow.models").import_all_models()
    import_module("sqlalchemy.orm").configure_mappers()


def _prepare_api() -> None:
    supervisor: Any = import_module("airflow.sdk.execution_time.supervisor")
    asyncio.run(_ask_for_nothing(supervisor.in_process_api_server().app))


async def _ask_for_nothing(app: Any) -> None:
    """Send a first request, for which the API makes its routes, whatever is asked."""
    httpx: Any = import_module("httpx")
    headers = {"Airflow-API-Version": import_module("airflow.sdk.api.datamodels._generated").API_VERSION}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://airflow") as client:
        await client.get("/nothing", headers=headers)


# Whatever goes wrong here saves no time, and is no more than that: a run finds out itself what is wrong.
for _module in _MODULES:
    with suppress(Exception):
        import_module(_module)
for _act in (_prepare_models, _prepare_api):
    with suppress(Exception):
        _act()
