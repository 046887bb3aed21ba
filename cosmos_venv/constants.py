"""Names that users write in their DAG files: the enums of the configuration, with Cosmos's members and values."""

from __future__ import annotations

from enum import Enum

DEFAULT_PROFILES_FILE_NAME = "profiles.yml"
DEFAULT_DBT_TASK_GROUP_ID = "dbt_task_group"
LAST_SUCCESS = "last_success"
"""As the ``state`` of an operator: the artifacts of its own last success."""
PRODUCER_WATCHER_TASK_ID = "dbt_producer_watcher"
"""Id of the task that runs dbt in ExecutionMode.WATCHER, below the group of its project."""
PRODUCER_WATCHER_DONE_TASK_ID = "dbt_producer_watcher_done"
"""Id of the task behind the producer. It runs nothing: it fails the run of the DAG if the producer has failed."""
DBT_SETUP_ASYNC_TASK_ID = "dbt_setup_async"
"""Id of the task that compiles the models of ExecutionMode.AIRFLOW_ASYNC, below the group of its project."""
DBT_TEARDOWN_ASYNC_TASK_ID = "dbt_teardown_async"
"""Id of the task that deletes the SQL that ``dbt_setup_async`` has stored."""
SELECT_TASK_ID = "dbt_select"
"""Id of the task that evaluates the selection of a run, below the group of its project."""
SELECT_DONE_TASK_ID = "dbt_select_done"
"""Id of the task behind all that a run may choose, which runs nothing."""
ON_ERROR_DONE_TASK_ID = "dbt_on_error_done"
"""Id of the task behind all others where a model has ``on_error: continue``. It runs nothing. It fails the run of the
DAG if such a model has failed and its children have succeeded."""
RUN_SUMMARY_TASK_ID = "dbt_run_summary"
"""Id of the task with the table of the results of all nodes, below the group of its project."""
ON_RUN_START = "dbt_on_run_start"
"""Id of the setup task that runs the hooks ``on-run-start`` once, below the group of its project; also its macro."""
ON_RUN_END = "dbt_on_run_end"
"""Likewise for the teardown task and ``on-run-end``."""
ON_RUN_END_DONE_TASK_ID = "dbt_on_run_end_done"
"""Id of the task behind ``dbt_on_run_end`` and all others. It runs nothing. It fails the run of the DAG if a hook of
``on-run-end`` has failed: Airflow does not count a teardown task, and with ``on_failure_fail_dagrun`` counts no task
before it."""
SETUPS = frozenset({DBT_SETUP_ASYNC_TASK_ID, ON_RUN_START})
"""Setup tasks of Airflow."""
TEARDOWNS = frozenset({DBT_TEARDOWN_ASYNC_TASK_ID, ON_RUN_END, RUN_SUMMARY_TASK_ID})
"""The tasks on which neither the state of a run nor a task behind the group of the project depends."""
NODES_XCOM = "dbt_nodes"
"""Key of the XCom with the results of the nodes of a task that ran dbt."""
BATCH_CONFIG = "dbt_batch"
"""In the context of the task of several nodes: its name and the unique ids of the nodes that it runs."""

NODE_CONFIG = "dbt_node_config"
"""In the context of a task: its dbt node as plain data."""
TASK_TESTS = "dbt_tests"
"""In the context of a task that tests: the unique ids of the tests that the plan shows for it."""
ONLY_TESTS = "dbt_runs_only_tests"
"""True in the context of a task when the run has chosen some of its tests and not its node."""
ONLY_IF_CHANGED = "should_run_if_seed_changed"
"""In the context of a seed's task with SeedRenderingBehavior.WHEN_SEED_CHANGES, as in Cosmos."""


class LoadMode(Enum):
    """The source of the nodes of a dbt project.

    ``MANIFEST`` is the spelling of the documents for ``DBT_MANIFEST``.
    """

    AUTOMATIC = "automatic"
    CUSTOM = "custom"
    DBT_LS = "dbt_ls"
    DBT_LS_FILE = "dbt_ls_file"
    DBT_LS_CACHE = "dbt_ls_cache"
    DBT_MANIFEST = "dbt_manifest"
    MANIFEST = "dbt_manifest"  # noqa: PIE796 - an alias is what is meant


class ExecutionMode(Enum):
    """The place where dbt runs."""

    WATCHER = "watcher"
    LOCAL = "local"
    AIRFLOW_ASYNC = "airflow_async"
    DOCKER = "docker"
    KUBERNETES = "kubernetes"
    AWS_EKS = "aws_eks"
    AWS_ECS = "aws_ecs"
    VIRTUALENV = "virtualenv"
    AZURE_CONTAINER_INSTANCE = "azure_container_instance"
    GCP_CLOUD_RUN_JOB = "gcp_cloud_run_job"
    GCP_GKE = "gcp_gke"
    WATCHER_GCP_GKE = "watcher_gcp_gke"
    WATCHER_KUBERNETES = "watcher_kubernetes"


class InvocationMode(Enum):
    """The way dbt is started: as a command, or inside the worker's own process."""

    SUBPROCESS = "subprocess"
    DBT_RUNNER = "dbt_runner"


class TestBehavior(Enum):
    """The place of dbt's tests in the DAG."""

    __test__ = False  # the name begins with "Test": pytest must not collect it

    BUILD = "build"
    NONE = "none"
    AFTER_EACH = "after_each"
    AFTER_ALL = "after_all"


class TestIndirectSelection(Enum):
    """Which tests dbt adds to selected nodes (dbt's ``--indirect-selection``).

    ``EAGER`` adds every test of a selected node, and ``EMPTY`` none. ``CAUTIOUS`` adds those tests whose parents are
    all selected. ``BUILDABLE`` adds those tests whose parents are selected or come before a selected node.
    """

    __test__ = False  # the name begins with "Test": pytest must not collect it

    EAGER = "eager"
    CAUTIOUS = "cautious"
    BUILDABLE = "buildable"
    EMPTY = "empty"


class SourceRenderingBehavior(Enum):
    """Which sources become tasks."""

    NONE = "none"
    ALL = "all"
    WITH_TESTS_OR_FRESHNESS = "with_tests_or_freshness"


class SeedRenderingBehavior(Enum):
    """Whether a seed becomes a task, and when that task runs dbt (Cosmos's documentation, "Managing seeds")."""

    ALWAYS = "always"
    WHEN_SEED_CHANGES = "when_seed_changes"
    RENDER_ONLY = "render_only"
    NONE = "none"


class BatchBy(Enum):
    """Which nodes run together in one ``dbt build`` (docs/how-to/dags/batches.md)."""

    FOLDER = "folder"
    TAG = "tag"
    WAVE = "wave"
    CHAIN = "chain"
    ALL = "all"


class DbtResourceType(str, Enum):
    """The kind of a dbt node, in dbt's own words."""

    MODEL = "model"
    SNAPSHOT = "snapshot"
    SEED = "seed"
    TEST = "test"
    SOURCE = "source"
    EXPOSURE = "exposure"
    ANALYSIS = "analysis"
    OPERATION = "operation"
    UNIT_TEST = "unit_test"
    METRIC = "metric"
    SEMANTIC_MODEL = "semantic_model"
    SAVED_QUERY = "saved_query"
    FUNCTION = "function"
    SEMANTIC_METRIC_VIEW = "semantic_metric_view"

    # __hash__ of Enum is written in Python: with it a DAG of 5,000 models looks up types for 20 ms.
    __hash__ = str.__hash__

    @classmethod
    def _missing_(cls, value: object) -> DbtResourceType | None:
        """A type that a newer dbt brings is taken as it is, as in Cosmos: node converters are keyed by it."""
        if not isinstance(value, str) or not value:
            return None
        member = str.__new__(cls, value)
        member._name_, member._value_ = value.upper(), value
        cls._member_map_[member._name_] = member
        cls._value2member_map_[value] = member
        return member


METRIC_VIEWS = ("metric_view", "semantic_view")
"""Materializations of models that Cosmos 1.16 calls ``semantic_metric_view``: views of metrics of Databricks and
Snowflake, in any case. To dbt they are models."""
TESTS = (DbtResourceType.TEST, DbtResourceType.UNIT_TEST)
"""The types of nodes that test others."""
TEST_IDS = tuple(f"{kind.value}." for kind in TESTS)
"""The beginnings of the unique ids of such nodes."""

SOURCE_IDS = f"{DbtResourceType.SOURCE.value}."
"""The beginning of the unique ids of sources."""
