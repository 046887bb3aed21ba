"""What does ``dbt ls`` say of a project? What it has said before, while nothing that matters has changed."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import managed, settings
from cosmos_venv.dbt.kept_files import KeptFiles
from cosmos_venv.dbt.package_files import LOCK_FILE, local_package, read_package_files
from cosmos_venv.dbt.project_file import read_dbt_project
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.dbt_ls import ls_arguments
from cosmos_venv.project.fingerprint import fingerprint, variables_named_in
from cosmos_venv.project.ls_process import (
    DbtInstallation,
    environment_of,
    installation,
    run_dbt_ls,
    variables_of,
    wants_deps,
)

if TYPE_CHECKING:
    from cosmos_venv.project.load import DbtGraph

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """:param lines: what ``dbt ls`` has said.
    :param was_kept: whether it had said so before, and no dbt was started.
    """

    lines: list[str]
    was_kept: bool


def list_nodes(graph: DbtGraph) -> Listing:
    """What ``dbt ls`` says of the graph's project and selection, or has said while nothing that matters has changed.

    Where several processes want to know the same, one asks dbt and the others wait for its answer.

    :raises CosmosLoadDbtException: when dbt fails, with its own last lines; when the environment is not ready yet, or
        another process's dbt is not in the time that Airflow leaves for a DAG file.
    :raises CosmosConfigException: when the dbt executable cannot be started.
    """
    assert graph.profile_config is not None  # noqa: S101 - DbtGraph.load has refused that
    uses_mock = graph.render_config.enable_mock_profile
    with (
        installation(graph) as dbt,
        graph.profile_config.ensure_profile(use_mock_values=uses_mock) as (profile, secrets),
    ):
        kept = managed.kept_listings()
        digest = None if kept is None else _digest(graph, dbt, profile)
        if kept is None or digest is None:
            return Listing(lines=run_dbt_ls(graph, dbt, profile, secrets), was_kept=False)
        if (listing := _kept(kept, digest, graph)) is not None:
            return listing
        wait = managed.seconds_for_a_parse()
        with kept.turn(digest, wait=wait, report=_report_waiting) as has_turn:
            if (listing := _kept(kept, digest, graph)) is not None:
                return listing
            if not has_turn:
                raise CosmosLoadDbtException(
                    f"Another process has been running dbt ls for {graph.project_path} for more than {wait:.0f} s. The "
                    "next parse finds its answer; [core] dagbag_import_timeout says how long a parse may take."
                )
            lines = run_dbt_ls(graph, dbt, profile, secrets)
            text = "\n".join(lines).encode(errors="surrogateescape")
            kept.write(digest, b"\n".join([_check(text), text]))
            return Listing(lines=lines, was_kept=False)


def _kept(kept: KeptFiles, digest: str, graph: DbtGraph) -> Listing | None:
    is_pinned = not wants_deps(graph) or (graph.project_path / LOCK_FILE).is_file()
    content = kept.read(digest, max_age=None if is_pinned else settings.packages_max_age)
    check, _, text = (content or b"").partition(b"\n")
    # One that was cut short would be a project without nodes.
    return Listing(lines=text.decode(errors="replace").splitlines(), was_kept=True) if check == _check(text) else None


def _check(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


def _report_waiting() -> None:
    logger.info("Another process is running dbt ls for the same project; waiting for its answer.")


def _digest(graph: DbtGraph, dbt: DbtInstallation, profile: Path) -> str | None:
    """Under what the answer is kept: all that it depends on. None where that cannot be told."""
    assert graph.profile_config is not None  # noqa: S101 - as above
    project_dir = graph.project_path
    # Packages that dbt deps installs follow from the project's files, but for local ones.
    has_deps = wants_deps(graph)
    left_out = {read_dbt_project(project_dir).packages_folder} if has_deps else set()
    packages = read_package_files(project_dir)
    folders = [project_dir, *(local_package(project_dir, path) for path in packages.local)]
    known = managed.kept_fingerprints()
    contents = [fingerprint(folder, left_out=left_out, known=known) for folder in folders]
    written = profile.read_text(encoding="utf-8", errors="replace")
    named = [variables_named_in(written), *(content.variables for content in contents)]
    if None in named or not packages.is_known:
        logger.info("dbt ls runs at each parse: the name of an environment variable or of a package is made by Jinja.")
        return None
    env = environment_of(graph, dbt)
    names = {name for names in named for name in names or ()} | {name for name in env if name.startswith("DBT_")}
    matters = [
        [dbt.identity, dbt.executable],
        [content.digest for content in contents],
        written,
        graph.profile_config.profile_name,
        graph.profile_config.target_name,
        ls_arguments(graph.render_config, graph.project, dbt_vars=variables_of(graph)),
        has_deps,
        {name: env[name] for name in sorted(names) if name in env},
    ]
    return hashlib.sha256(json.dumps(matters).encode()).hexdigest()
