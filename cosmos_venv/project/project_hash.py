"""``project_hash``, by which Airflow 3 tells that a DAG's dbt project is another one than before.

Tasks name their nodes and not the nodes' SQL: without it a DAG stays the same when its SQL changes, and Airflow shows
no new version of it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.project.fingerprint import fingerprint, trees_of

logger = logging.getLogger(__name__)

_SHOWN_DIGITS = 32


def project_hash(
    project_dir: Path,
    environment: Mapping[str, str],
    *,
    has_deps: bool = True,
    excluded: Sequence[str] = (),
    known: FileCache | None = None,
) -> str | None:
    """Return a text that differs where dbt would parse another project; it is the same for every checkout and host.

    The content of SQL, Python, YAML and Markdown files counts, and the names of CSV files. Folders in which dbt writes
    do not count, and packages that dbt deps installs follow from the project's own files. Without dbt deps, what lies
    in the folder of the packages counts.

    :param project_dir: absolute folder of the project.
    :param environment: environment variables for dbt, which may name the folders that it reads.
    :param has_deps: whether ``dbt deps`` installs packages before dbt parses.
    :param excluded: patterns of files and folders that do not count, by name or by path below the project, as the shell
        has them.
    :param known: keeps fingerprints: files that look untouched are not read again; None: they are read.
    :returns: 32 hex digits; None where the folder holds no project, or one that cannot be read, as a line of the log
        tells.
    """
    if not (project_dir / "dbt_project.yml").is_file():  # a manifest was loaded where the project is not
        return None
    try:
        trees = trees_of(project_dir, environment, has_deps=has_deps, excluded=excluded)
        digests = [fingerprint(tree, known=known).digest for tree in trees]
    except (CosmosLoadDbtException, OSError, ValueError) as error:  # ValueError: of a path with a zero byte
        logger.warning("The DAG has no hash of its dbt project: %s", error)
        return None
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:_SHOWN_DIGITS]
