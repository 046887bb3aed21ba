"""The settings, each with its default, its meaning and what it can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, cast

from cosmos_venv.files.read_limits import MEBIBYTE

T = TypeVar("T", bool, int, float, str)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One name that can be set in Airflow's configuration.

    :param default: the value where nothing is set; its type is that of the option.
    :param meaning: sentences for the documentation.
    :param is_also_cosmos: whether Cosmos has it too, so that it may stand in ``[cosmos]`` instead of ``[cosmos_venv]``.
    :param choices: the texts that it can be, beside the default; empty: any.
    :param least: the smallest number that it can be; None: any.
    :param older_name: another name that is read where this one is not set; empty: there is none.
    """

    default: bool | int | float | str
    meaning: str
    is_also_cosmos: bool
    choices: tuple[str, ...] = ()
    least: int | None = None
    older_name: str = ""


def own(default: T, meaning: str, *, choices: tuple[str, ...] = (), least: int | None = None) -> T:
    """Return a setting of ``[cosmos_venv]`` alone; to a type checker, its value.

    :param default: as for ``Setting``.
    :param meaning: as for ``Setting``.
    :param choices: as for ``Setting``.
    :param least: as for ``Setting``.
    """
    return cast(T, Setting(default=default, meaning=meaning, is_also_cosmos=False, choices=choices, least=least))


def of_cosmos(default: T, meaning: str, *, older_name: str = "") -> T:
    """Return a setting that Cosmos has too; to a type checker, its value.

    :param default: as for ``Setting``.
    :param meaning: as for ``Setting``.
    :param older_name: as for ``Setting``.
    """
    return cast(T, Setting(default=default, meaning=meaning, is_also_cosmos=True, older_name=older_name))


cache_dir = of_cosmos(
    "", "Folder for files that are kept between commands. Empty: a folder of this user below the temporary folder."
)
enable_cache = of_cosmos(True, "Whether files are kept between commands.")
enable_cache_dbt_ls = of_cosmos(
    True, "Whether the answer of dbt ls is kept, so that an unchanged project needs no dbt."
)
remote_cache_dir = of_cosmos(
    "",
    "Second place in which answers of dbt ls are kept, for other machines: a path or URL such as s3://bucket/cosmos.",
)
remote_cache_dir_conn_id = of_cosmos(
    "", "The Airflow connection for remote_cache_dir. Empty: the default connection of its storage."
)
share_answers_in_variables = own(
    True,
    "Whether machines share answers of dbt ls by Airflow Variables, one for a project, where remote_cache_dir is not "
    "set. An answer of more than 1 MiB, compressed, is not shared.",
)
enable_cache_partial_parse = of_cosmos(
    True, "Whether dbt's partial_parse.msgpack is kept, so that the next command parses less."
)
artifact_max_bytes = own(
    1024 * MEBIBYTE,
    "Largest size, in bytes, of a manifest, another artifact of dbt, or a file with the output of dbt ls, in any "
    "place. The limit counts for the transferred and for the unpacked file. 0: no limit.",
    least=0,
)
build_only_running_task = own(
    True,
    "Whether a worker of Airflow 3 makes only the task that it runs when it parses a DAG file. This works if the dbt "
    "project was planned before.",
)
enable_dag_versioning = of_cosmos(
    True,
    "Whether the documentation of a DAG ends with a hash of its dbt project, so that Airflow 3 shows a new version of "
    "the DAG when the project has changed.",
)
project_hash_excluded_dirs = of_cosmos(
    "",
    "Folders and files that do not count in that hash, separated by commas: names, or paths below the project, with * "
    "as in a shell.",
)
task_docs_max_chars = own(
    3000,
    "About how many characters the documentation of a task may have, which Airflow stores with the DAG: what the "
    "project says of the node. Where a project has more than 666 such tasks, they share 2,000,000 characters. 0: "
    "tasks have none.",
    least=0,
)
task_docs_compiled_sql = own(
    False,
    "Whether this documentation has the compiled SQL of a model, where the manifest has it. SQL that is compiled with "
    "a date makes a new version of the DAG with each manifest.",
)
dbt_docs_url = own(
    "",
    "The URL of the published dbt docs, of their folder or their page: tasks link to the page of their node there. "
    "Empty: there is no link.",
)
enable_dataset_alias = of_cosmos(
    True, "Whether tasks emit the assets of dbt nodes through an alias. On Airflow 3 this is the only way."
)
enable_dataset_airflow3_uri = of_cosmos(
    False,
    "Whether the URIs of datasets have slashes on Airflow 2 too, as they have on Airflow 3.",
    older_name="use_dataset_airflow3_uri_standard",
)
enable_hierarchical_naming_for_group_nodes_by_folder = of_cosmos(
    False,
    "Whether RenderConfig.group_nodes_by_folder identifies a folder by its full path. If not, it uses the name alone, "
    "and the nodes of two folders with the same name are in the group of the first one.",
)
keep_excluded_tests = own(
    False,
    "Whether RenderConfig.exclude leaves a selected node its test task when all its tests are excluded, as in Cosmos, "
    "unless dbt ls has selected. The task gets the exclusion and may find nothing to do. If not, the tasks are the "
    "same in every load mode: those of dbt's answer.",
)
enable_dags_folder_exclusion_from_dbt = of_cosmos(
    True,
    "Whether dbt gets its search path without the folders of DAG files, plugins and configuration: dbt imports each "
    "module there whose name begins with dbt_.",
)
enable_lax_selector_parsing = of_cosmos(
    False,
    "Whether selector: with wildcards, in select and exclude, leaves out YAML selectors whose definition cannot be "
    "used, with a warning. A selector that is named in full stays an error.",
)
enable_semantic_metric_view_reclassification = of_cosmos(
    False,
    "Whether models with the materialization metric_view or semantic_view have tasks of their own type, "
    "semantic_metric_view, as in Cosmos 1.16. Their ids end in semantic_metric_run.",
)
enable_uri_xcom = of_cosmos(False, "Whether a task pushes the URIs of its assets as the XCom uri.")
default_copy_dbt_packages = of_cosmos(
    False,
    "Whether a project's packages folder is copied for a command instead of linked. It is used if copy_dbt_packages "
    "is not given and dbt deps does not run.",
)
remote_target_path = of_cosmos("", "Place to which compiled SQL is uploaded: a path or URL such as s3://bucket/dbt.")
remote_target_path_conn_id = of_cosmos(
    "", "The Airflow connection for remote_target_path. Empty: the default connection of its storage."
)
upload_sql_to_xcom = of_cosmos(
    True,
    "ExecutionMode.AIRFLOW_ASYNC: whether the compiled SQL of a model reaches its task by an XCom. If not, it does so "
    "by a file below remote_target_path.",
)
enable_setup_async_task = of_cosmos(
    True,
    "ExecutionMode.AIRFLOW_ASYNC: whether the task dbt_setup_async compiles the models. A DAG without it can have no "
    "models.",
)
enable_teardown_async_task = of_cosmos(
    True,
    "ExecutionMode.AIRFLOW_ASYNC: whether the task dbt_teardown_async deletes the SQL that is stored below "
    "remote_target_path for the run.",
)
dbt_docs_dir = of_cosmos(
    "",
    "Folder with index.html, manifest.json and catalog.json of dbt docs generate, shown in Airflow's UI: a path or "
    "URL such as s3://bucket/docs. Empty: none.",
)
dbt_docs_conn_id = of_cosmos(
    "", "The Airflow connection for dbt_docs_dir. Empty: the default connection of its storage."
)
dbt_docs_index_file_name = of_cosmos("index.html", "Name of dbt's page in dbt_docs_dir, such as static_index.html.")
dbt_docs_projects = of_cosmos(
    "",
    "More projects whose dbt docs Airflow's UI shows, as JSON: their names in URLs, each with dir and, where needed, "
    "conn_id, index, name (for people) and dag_id (a DAG that a user must be allowed to see).",
)
dbt_docs_max_bytes = own(
    256 * MEBIBYTE,
    "Largest size, in bytes, of a file of dbt docs that Airflow's UI shows, and of the page with its data. 0: no "
    "limit.",
    least=0,
)
watcher_dbt_execution_queue = of_cosmos(
    "",
    "Queue of all dbt tasks of a DAG in ExecutionMode.WATCHER: of the producer, and of a task that runs dbt for its "
    "node alone. Empty: the queue that operator_args or Airflow gives.",
)
watcher_dbt_producer_queue = of_cosmos(
    "", "Queue of the producer in ExecutionMode.WATCHER. Empty: that of watcher_dbt_execution_queue."
)
watcher_dbt_consumer_queue = of_cosmos(
    "",
    "Queue of the tasks that watch the producer in ExecutionMode.WATCHER, where they start on a worker: before "
    "Airflow 3.3.2, with starts_on_worker, and with deferrable=False. Empty: that of watcher_dbt_execution_queue.",
)
watcher_dbt_retry_queue = of_cosmos(
    "",
    "Queue of the tasks that watch the producer in ExecutionMode.WATCHER, where they start in the triggerer and need "
    "a worker only to run dbt in a later try. Empty: that of watcher_dbt_execution_queue.",
)
watcher_max_tasks = own(
    0,
    "How many tasks may watch the producer of a DAG in ExecutionMode.WATCHER. Where a project needs more, one task "
    "watches all nodes of a folder, as with RenderConfig.batch_by='folder'. 0: any number.",
    least=0,
)
unreported_nodes = own(
    "fail",
    "What becomes of a task whose dbt has ended without an error and has not reported the task's node, or none of its "
    "tests: fail, or warn. Where dbt has reported some of the tests, a warning names the others.",
    choices=("fail", "warn"),
)
retry_on = own(
    "",
    "After which failures of dbt Airflow may try a task again, where the operator has no retry_on: kinds, separated by "
    "commas, such as warehouse. Empty: after each, as Airflow's retries say.",
)
state_path = own(
    "",
    "Place for the artifacts of the last success of each task with state='last_success': a path or URL that all "
    "workers can reach. Empty: below cache_dir, which belongs to one worker.",
)
state_path_conn_id = own("", "The Airflow connection for state_path. Empty: the default connection of its storage.")
enable_debug_mode = of_cosmos(
    False, "Whether each dbt task pushes its highest memory use as the XCom cosmos_debug_max_memory_mb."
)
debug_memory_poll_interval_seconds = of_cosmos(
    0.5, "With enable_debug_mode: seconds between two measurements of the memory."
)
packages_max_age = own(
    3600,
    "Seconds for which installed dbt packages are used if no package-lock.yml pins them; then dbt deps runs again. "
    "With 0 it runs for every task. Pinned packages are used as long as the project requires them.",
)
virtualenv_max_retries_lock = of_cosmos(
    120,
    "Seconds that a task waits for another process to release cosmos_virtualenv.lock. Time in which the build of that "
    "process makes visible progress does not count.",
)
virtualenv_build = own(
    "auto",
    "auto: a task builds a missing environment. never: a missing environment is an error that names the command which "
    "builds it.",
    choices=("auto", "never"),
)
virtualenv_prune_max_age_days = own(
    30, "Days without use after which an environment is removed when another one is built. 0: never.", least=0
)
virtualenv_prune_max_count = own(
    10,
    "Number of environments that a virtualenv_dir keeps. Those that were used longest ago are removed first. 0: all "
    "are kept.",
    least=0,
)
virtualenv_prune_max_bytes = own(0, "Bytes on disk that a virtualenv_dir keeps. 0: no limit.", least=0)
virtualenv_prune_min_age = own(
    86_400,
    "Seconds after its last use for which an environment is kept, even if it is beyond the other limits.",
    least=0,
)
virtualenv_search_path = own(
    "",
    "Directories that are searched before virtualenv_dir, in this order, separated as in PATH. They are only read, so "
    "they may be read-only: for example a directory that was filled when an image was built.",
)
remote_cache_packages = own(
    False,
    "Whether dbt packages that a package-lock.yml pins are fetched from remote_cache_dir, and put there. It needs a "
    "key (remote_key_conn_id, remote_key_file), as the next two do.",
)
remote_cache_parse_files = own(
    False, "Whether dbt's parse files (partial_parse.msgpack) are fetched from remote_cache_dir, and put there."
)
remote_cache_plans = own(
    False,
    "Whether plans of DAGs are fetched from remote_cache_dir, and put there: a worker then needs no manifest to make "
    "the one task that it runs.",
)
remote_cache_timeout = own(
    10, "Seconds within which remote_cache_dir must answer about a package, a parse file or a plan.", least=1
)
remote_environment_dir = own(
    "",
    "Folder from which workers fetch environments that another worker has built, and into which they put those that "
    "they have built: a URL of an object storage that Airflow reaches, or the path of a mount. It needs "
    "remote_key_conn_id or remote_key_file. Empty: none.",
)
remote_environment_dir_conn_id = own(
    "", "The Airflow connection for remote_environment_dir. Empty: the default connection of its storage."
)
remote_key_conn_id = own(
    "",
    "The Airflow connection whose password is the key, of at least 16 characters, that all workers share: what they "
    "fetch from each other is signed with it.",
)
remote_key_file = own(
    "", "A file with that key, which others may not read; it counts where there is no remote_key_conn_id."
)
remote_environment_push = own(True, "Whether what a worker has built is put into remote_environment_dir.")
remote_environment_timeout = own(
    60, "Seconds that an environment may take to come from remote_environment_dir. Then the task builds it.", least=1
)
virtualenv_lock_timeout_action = own(
    "fail",
    "Action of a task that has waited too long for the build of another process: fail, or private (continue in a "
    "temporary environment).",
    choices=("fail", "private"),
)
virtualenv_dir_mode = own(
    "",
    "Permissions, in octal, of the directories that are made in and for virtualenv_dir, such as 0775. Empty: 0755, "
    "with write permission for the group if the parent directory gives it.",
)
virtualenv_dir_may_be_open = own(
    False,
    "Whether environments are used from a virtualenv_dir, or a directory of virtualenv_search_path, to which everybody "
    "may write: for a mount that forces mode 0777. Whoever reaches the mount can make tasks run code.",
)
virtualenv_installer = own(
    "",
    "The installer: uv, pip, auto (uv if it can be told every setting of pip), or airflow (Airflow's own "
    "prepare_virtualenv). Empty: the value of [standard] venv_install_method.",
    choices=("auto", "uv", "pip", "airflow"),
)
virtualenv_adbc_drivers = own(
    "",
    "Database drivers for dbt 2, separated by blanks: paths of shared libraries such as libduckdb.so, or requirements "
    "of distributions that hold one. They are put into the lib/ of each environment, also of those with dbt 1, which "
    "then are other environments than before.",
)
virtualenv_upgrade_interval = own(
    86400, "Seconds after which an environment with --upgrade among its pip options is resolved again."
)
local_warm_dbt = own(
    "off",
    "Whether the dbt of dbt_executable_path, in a virtual environment, is forked from a warm server, a process that "
    "has imported it: auto, off or require, as in virtualenv_warm_dbt.",
    choices=("auto", "off", "require"),
)
virtualenv_warm_dbt = own(
    "auto",
    "Whether dbt of a kept environment is forked from a warm server, a process that has imported it: auto (from the "
    "second task on, with dbt-duckdb and dbt-postgres; a plain process if this is not possible), off, or require (with "
    "any adapter; if it is not possible, the task fails).",
    choices=("auto", "off", "require"),
)
virtualenv_warm_dbt_idle = own(600, "Seconds without a command after which a warm server ends.", least=1)
virtualenv_warm_dbt_max = own(
    4, "Largest number of warm servers that one user has on one host: one for each environment.", least=1
)


SETTINGS: dict[str, Setting] = {name: value for name, value in globals().items() if isinstance(value, Setting)}
"""The settings by their names."""
