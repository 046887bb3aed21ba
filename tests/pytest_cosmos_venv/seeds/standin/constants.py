"""Cosmos's enums, as far as seeds need them."""

from __future__ import annotations

from enum import Enum


class SeedRenderingBehavior(Enum):
    ALWAYS = "always"
    WHEN_SEED_CHANGES = "when_seed_changes"
    RENDER_ONLY = "render_only"
    NONE = "none"


class TestBehavior(Enum):
    __test__ = False

    BUILD = "build"
    NONE = "none"
    AFTER_EACH = "after_each"
    AFTER_ALL = "after_all"


class LoadMode(Enum):
    DBT_LS = "dbt_ls"
    DBT_MANIFEST = "dbt_manifest"


class InvocationMode(Enum):
    SUBPROCESS = "subprocess"
    DBT_RUNNER = "dbt_runner"


class ExecutionMode(Enum):
    LOCAL = "local"
    VIRTUALENV = "virtualenv"
    AIRFLOW_ASYNC = "airflow_async"
    WATCHER = "watcher"
    WATCHER_KUBERNETES = "watcher_kubernetes"
    WATCHER_GCP_GKE = "watcher_gcp_gke"
    DOCKER = "docker"
    KUBERNETES = "kubernetes"
    AWS_EKS = "aws_eks"
    AWS_ECS = "aws_ecs"
    AZURE_CONTAINER_INSTANCE = "azure_container_instance"
    GCP_CLOUD_RUN_JOB = "gcp_cloud_run_job"
    GCP_GKE = "gcp_gke"
