"""``ProjectConfig``: the place of the dbt project, and what dbt gets when it is parsed and when it runs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv.config.validation import (
    NamedArguments,
    as_path,
    folder_name,
    is_of_another_task,
    is_template,
    local_or_remote,
    refuse_no_mapping,
    refuse_text_for_boolean,
    require,
)
from cosmos_venv.exceptions import CosmosValueError, deprecated
from cosmos_venv.remote.remote_file import url_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from cosmos_venv.remote.project_address import ProjectAddress


class ProjectConfig(NamedArguments):
    """The place of the dbt project, and what dbt gets both when it is parsed and when it runs.

    :param dbt_project_path: folder that holds ``dbt_project.yml``, or where the project lies elsewhere: the URL of an
        archive (``.tar.gz``, ``.tar.zst``, ``.zip``) or of a folder of object storage, or a commit of git
        (``git+https://host/repo.git@<40 hex digits>#subdirectory=shop``). It is kept as ``address`` then.
    :param install_dbt_deps: run ``dbt deps`` before parsing and running.
    :param copy_dbt_packages: copy the packages folder for each command instead of linking to it, where ``dbt deps``
        does not run; None: as ``[cosmos] default_copy_dbt_packages`` says.
    :param models_relative_path, seeds_relative_path, snapshots_relative_path: deprecated: use the lists below.
    :param manifest_path: a ``manifest.json`` on this machine, or its URL: ``https://``, ``s3://``, ``gs://``,
        ``abfs://``, or of another storage that Airflow knows. A relative path counts from the top of a project that
        lies elsewhere.
    :param manifest_conn_id: id of the Airflow connection for a manifest that lies elsewhere; None: the default one of
        its storage.
    :param project_name: its name; None: the folder's name, up to a dot.
    :param env_vars: environment variables of every dbt command, text to text. A value, or the whole dict, may be a
        template or the output of another task (``XComArg``). ``dbt ls`` gets the text of the template as such a value,
        and no variables of such a dict.
    :param dbt_vars: dbt's ``--vars``, by name, with templates and outputs as in ``env_vars``.
    :param partial_parse: False adds ``--no-partial-parse``.
    :param models_relative_paths: folders of the models, relative to the project, a list or one path; each must exist.
        None: ``models``. The attribute is a list of paths. ``models_paths`` has these paths below the project's folder,
        and ``models_path`` is the first of them.
    :param seeds_relative_paths: folders of the seeds, with attributes of the same kinds; dbt itself reads them from its
        ``dbt_project.yml``. None: ``seeds``.
    :param snapshots_relative_paths: folders of the snapshots, with attributes of the same kinds. None: ``snapshots``.
    :param dbt_project_conn_id: id of the Airflow connection for a project that lies elsewhere; None: the default one of
        its storage.
    :raises CosmosValueError: for a manifest without project path or name, for a name without manifest or project path,
        and for an invalid address.
    """

    def __init__(
        self,
        dbt_project_path: str | Path | None = None,
        install_dbt_deps: bool = True,
        copy_dbt_packages: bool | None = None,
        models_relative_path: str | Path | None = None,
        seeds_relative_path: str | Path | None = None,
        snapshots_relative_path: str | Path | None = None,
        manifest_path: str | Path | None = None,
        manifest_conn_id: str | None = None,
        project_name: str | None = None,
        env_vars: dict[str, str] | None = None,
        dbt_vars: dict[str, Any] | None = None,
        partial_parse: bool = True,
        *,
        models_relative_paths: str | Path | Sequence[str | Path] | None = None,
        seeds_relative_paths: str | Path | Sequence[str | Path] | None = None,
        snapshots_relative_paths: str | Path | Sequence[str | Path] | None = None,
        dbt_project_conn_id: str | None = None,
    ) -> None:
        if not dbt_project_path and bool(manifest_path) != bool(project_name):
            given, lacking = ("manifest_path", "project_name") if manifest_path else ("project_name", "manifest_path")
            raise CosmosValueError(
                f"ProjectConfig got {given} but neither dbt_project_path nor {lacking}. "
                f"Give dbt_project_path, or {given} and {lacking} together."
            )
        if not is_of_another_task(env_vars):
            refuse_no_mapping("ProjectConfig.env_vars", env_vars)
        if not is_of_another_task(dbt_vars) and not (isinstance(dbt_vars, str) and is_template(dbt_vars)):
            refuse_no_mapping("ProjectConfig.dbt_vars", dbt_vars)
        booleans = {"copy_dbt_packages": copy_dbt_packages, "partial_parse": partial_parse}
        for name, value in booleans.items():
            refuse_text_for_boolean(f"ProjectConfig.{name}", value)
        self.address = _address(dbt_project_path, dbt_project_conn_id)
        self.install_dbt_deps = install_dbt_deps
        self.copy_dbt_packages = copy_dbt_packages
        self.models_relative_paths = _relative_paths("models", models_relative_paths, models_relative_path)
        self.seeds_relative_paths = _relative_paths("seeds", seeds_relative_paths, seeds_relative_path)
        self.snapshots_relative_paths = _relative_paths("snapshots", snapshots_relative_paths, snapshots_relative_path)
        self._stand_in(None if self.address else as_path(dbt_project_path))
        self.manifest_path = local_or_remote(manifest_path, "ProjectConfig.manifest_path")
        self.manifest_conn_id = manifest_conn_id
        place = Path(self.address.subdirectory or self.address.name) if self.address else self.dbt_project_path
        self.project_name = project_name or (folder_name(place) if place else "")
        self.env_vars = env_vars
        self.dbt_vars = dbt_vars
        self.partial_parse = partial_parse

    def at(self, folder: Path) -> Self:
        """The same configuration with a copy of the project on this machine.

        :param folder: of the copy.
        """
        other = copy.copy(self)
        other._stand_in(folder)
        if isinstance(self.manifest_path, Path):
            other.manifest_path = folder / self.manifest_path
        return other

    def validate_project(self) -> None:
        """Refuse paths that are not there; a manifest that lies elsewhere is not looked for.

        :raises CosmosValueError: names the first of project file, models folder and manifest that is not there.
        """
        if self.dbt_project_path is not None:
            project_file = self.dbt_project_path / "dbt_project.yml"
            require(project_file.is_file(), "ProjectConfig.dbt_project_path", project_file, "dbt_project.yml")
            for folder in self.models_paths:
                require(folder.is_dir(), "ProjectConfig.models_relative_paths", folder, "models folder")
        if isinstance(self.manifest_path, Path):
            require(self.is_manifest_available(), "ProjectConfig.manifest_path", self.manifest_path, "manifest")

    def is_manifest_available(self) -> bool:
        """Whether a manifest was given and is there; a manifest at a URL counts as there: the load tells."""
        return isinstance(self.manifest_path, str) or (self.manifest_path is not None and self.manifest_path.is_file())

    def _stand_in(self, folder: Path | None) -> None:
        self.dbt_project_path = folder
        self.models_paths = self._in_project(self.models_relative_paths)
        self.seeds_paths = self._in_project(self.seeds_relative_paths)
        self.snapshots_paths = self._in_project(self.snapshots_relative_paths)
        folders = (self.models_paths, self.seeds_paths, self.snapshots_paths)
        self.models_path, self.seeds_path, self.snapshots_path = (next(iter(each), None) for each in folders)

    def _in_project(self, relative: Sequence[Path]) -> list[Path]:
        return [self.dbt_project_path / each for each in relative] if self.dbt_project_path else []


def _address(given: str | Path | None, conn_id: str | None) -> ProjectAddress | None:
    """The address of a project that lies elsewhere; None for a folder of this machine."""
    text = str(given or "")
    if url_of(given or "", "ProjectConfig.dbt_project_path") is None and not text.startswith("file://"):
        return None
    from cosmos_venv.remote.project_address import ProjectAddress

    return ProjectAddress.of(text, conn_id)


def _relative_paths(kind: str, several: str | Path | Sequence[str | Path] | None, one: str | Path | None) -> list[Path]:
    """The folders of a kind of node; a default where none is given."""
    name = f"ProjectConfig.{kind}_relative_path"
    if one is not None and several is not None:
        raise CosmosValueError(f"{name}={one!r} beside {kind}_relative_paths={several!r}. Give the latter alone.")
    if one is not None:
        deprecated(name, f"{name}s")
    given = several if several is not None else one or kind
    return [Path(each) for each in ([given] if isinstance(given, str | Path) else given)]
