"""An executor that does what KubernetesExecutor does, without Kubernetes: each task is the command of a pod.

The pod is a process on a host of its own, whose disks are empty but for what an image and the cluster bring along.
``POD_DISKS`` names the folders that are empty in each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.executors.base_executor import BaseExecutor

HOST = Path(__file__).with_name("own_host.py")
DISKS_VARIABLE = "POD_DISKS"


class PodExecutor(BaseExecutor):
    """Tasks as pods."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pods: dict[Any, subprocess.Popen[bytes]] = {}

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        for number, workload in enumerate(workload_items):
            del self.queued_tasks[workload.ti.key]
            name = f"pod-{len(self._pods) + number}-{workload.ti.task_id}".replace("_", "-")[:60]
            command = ["-m", "airflow.sdk.execution_time.execute_workload", "--json-string", workload.model_dump_json()]
            host = [sys.executable, str(HOST), name, os.environ[DISKS_VARIABLE], sys.executable, *command]
            self._pods[workload.ti.key] = subprocess.Popen(host)
            self.running.add(workload.ti.key)

    def sync(self) -> None:
        for key, pod in list(self._pods.items()):
            if pod.poll() is not None:
                del self._pods[key]
                (self.fail if pod.returncode else self.success)(key)

    def end(self) -> None:
        for pod in self._pods.values():
            pod.wait()
