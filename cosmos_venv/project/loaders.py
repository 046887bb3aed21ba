"""One loader for each load mode, and the version of what each of them would load.

A loader takes a ``LoadRequest`` and returns what it has found. What only one mode needs is imported when it is used: a
manifest needs no dbt.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import os
import re
import time
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv import settings
from cosmos_venv.constants import DbtResourceType, ExecutionMode, LoadMode
from cosmos_venv.exceptions import CosmosConfigException, CosmosLoadDbtException, CosmosValueError
from cosmos_venv.files.file_cache import digest_of_file
from cosmos_venv.files.os_errors import shortage
from cosmos_venv.files.read_limits import read_file
from cosmos_venv.files.yaml_files import load_yaml
from cosmos_venv.managed import caches
from cosmos_venv.project.load_request import Loaded, LoadRequest

if TYPE_CHECKING:
    from cosmos_venv.files.file_cache import FileCache
    from cosmos_venv.project.fingerprint import LsQuestion
    from cosmos_venv.project.ls_cache import Listing
    from cosmos_venv.project.manifest import Manifest
    from cosmos_venv.project.node import DbtNode
    from cosmos_venv.project.node_entry import Folders
    from cosmos_venv.remote.download_cache import Copy, RemoteError
    from cosmos_venv.remote.remote_file import RemoteFile

    _Nodes = dict[str, DbtNode]

logger = logging.getLogger(__name__)

_PROJECT_FILE, _SELECTORS_FILE = "dbt_project.yml", "selectors.yml"
_PACKAGES_KEY, _ENV_VAR = b"packages-install-path", b"env_var"
_LOG_LEVELS = ("DBT_ENGINE_LOG_LEVEL", "DBT_LOG_LEVEL")  # the newer name first, which counts where both are set
_UNMATCHED = re.compile("The selection criterion '(.+)' does not match any enabled nodes")
_PATIENCE = 60.0  # seconds for a manifest that lies elsewhere, where Airflow sets no time-out


def load(request: LoadRequest) -> Loaded:
    """The nodes of a project, and the selected ones among them.

    :param request: what is loaded, and how.
    :raises CosmosLoadDbtException: when the project cannot be loaded; the text says what is missing or broken.
    :raises CosmosValueError: when dbt would refuse the selection, with the item.
    """
    # Of use for keeping a plan alone: where none is kept, a manifest would be hashed twice for nothing.
    before = None if caches.kept_plans() is None else version_of(request, only_files=True)
    try:
        loaded = _load(request)
    except OSError as error:
        words = shortage(error)
        if words is None:
            raise
        raise CosmosLoadDbtException(words) from None
    # A deployment may have changed the files meanwhile.
    if before is not None and before == version_of(request, only_files=True):
        loaded = msgspec.structs.replace(loaded, version=before)
    if not loaded.selected:
        _refuse_empty_selection(request, loaded.nodes)
    return loaded


def _refuse_empty_selection(request: LoadRequest, nodes: _Nodes) -> None:
    """A DAG without tasks is green, so a typo in a selection would run nothing and nobody would see it."""
    config = request.render
    given = [f"{name}={getattr(config, name)!r}" for name in ("select", "exclude", "selector") if getattr(config, name)]
    text = (
        f"RenderConfig selects none of the {len(nodes)} nodes of {request.project_dir}: "
        f"{', '.join(given) or f'nothing is given, so the default selector {_default_selectors(request)}counts'}."
    )
    if config.allow_empty_selection:
        logger.warning("%s allow_empty_selection makes an empty DAG of that.", text)
        return
    near = ", ".join(_nearest(config.select, nodes))
    hint = f" Did you mean {near}?" if near else ""
    raise CosmosLoadDbtException(
        f"{text}{hint} Correct the selection. If it may be empty: RenderConfig(allow_empty_selection=True)."
    )


def _default_selectors(request: LoadRequest) -> str:
    """The names of the default selectors, with a space behind each: one, unless their values are Jinja."""
    import yaml

    try:
        content: Any = load_yaml(_content(request.project_dir / _SELECTORS_FILE).decode())
        return "".join(f"{each['name']!r} " for each in content["selectors"] if each.get("default"))
    except (yaml.YAMLError, KeyError, TypeError):  # dbt has read it, or a manifest was made of another file
        return ""


def _nearest(items: Iterable[str], nodes: _Nodes) -> list[str]:
    """The names, tags and sources of the project that look like parts of a selection, as a selection has them."""
    from difflib import get_close_matches

    known: set[str] = set()
    for node in nodes.values():
        if node.resource_type is not DbtResourceType.TEST:
            known.add(f"source:{node.resource_name}" if node.resource_type is DbtResourceType.SOURCE else node.name)
            known.update(f"path:{each}" for each in node.original_file_path.parents if each.name)
        known.update(f"tag:{tag}" for tag in node.tags)
    words = [word.strip("@+") for item in items for word in re.split("[ ,]", item)]
    return list(dict.fromkeys(near for word in words for near in get_close_matches(word, known)))


def _load(request: LoadRequest) -> Loaded:
    loaders: dict[LoadMode, Callable[[LoadRequest], tuple[_Nodes, _Nodes]]] = {
        LoadMode.DBT_MANIFEST: _load_manifest,
        LoadMode.DBT_LS_FILE: _load_ls_file,
        LoadMode.CUSTOM: _load_custom,
    }
    loader = loaders.get(request.method)
    if loader is None:
        return _load_dbt_ls(request)
    nodes, selected = loader(request)
    return Loaded(
        nodes=nodes,
        selected=selected,
        method=request.method,
        reason=request.reason,
        # dbt may have selected when the file was written.
        is_whole=request.method is not LoadMode.DBT_LS_FILE,
    )


def _load_manifest(request: LoadRequest) -> tuple[_Nodes, _Nodes]:
    manifest, nodes = _read_manifest(request)
    _refuse_no_node(nodes, f"The manifest {manifest.path}", "Write it anew with `dbt parse`.")
    loaded = _select_in_manifest(request, manifest, nodes)
    if request.execution.execution_mode is ExecutionMode.AIRFLOW_ASYNC and manifest.hooks:
        from cosmos_venv.dbt.bigquery.refusals import NO_HOOKS

        if any(node.resource_type is DbtResourceType.MODEL for node in loaded[1].values()):
            logger.warning(NO_HOOKS, ", ".join(manifest.hooks))
    return loaded


def _select_in_manifest(request: LoadRequest, manifest: Manifest, nodes: _Nodes) -> tuple[_Nodes, _Nodes]:
    config, selector = request.render, request.render.selector
    if not (config.select or config.exclude or selector):
        if (selector := manifest.default_selector) is None:
            return nodes, nodes
        logger.info("Nothing is selected, so the default selector %r counts, as in dbt.", selector)
    return _selected(request, nodes, manifest.path, lambda: manifest.selected(config.select, config.exclude, selector))


def _read_manifest(request: LoadRequest) -> tuple[Manifest, _Nodes]:
    """The manifest and its nodes: once for all groups of a DAG file that select apart.

    Nothing is kept where nothing is selected: it would be memory for the one DAG that most files have.
    """
    from cosmos_venv.compat import shared_by_import  # it brings Airflow along, which no loader needs

    config, state = request.render, request.state_folder
    shared = shared_by_import() if config.select or config.exclude or config.selector else None
    identity = None if shared is None else identity_of(request)
    key = __name__, identity
    if shared is not None and key in shared:
        known: tuple[Manifest, _Nodes] = shared[key]
        return known
    manifest = _open_manifest(request)
    nodes = manifest.nodes(project_path=request.project_dir, packages_folder=request.project_file.packages_folder)
    if state is not None:
        manifest.compare_with(state, now=request.project_dir / "target")
    if shared is not None and identity is not None:
        shared[key] = manifest, nodes
    return manifest, nodes


def _open_manifest(request: LoadRequest) -> Manifest:
    path = request.project.manifest_path
    if path is None:
        raise CosmosLoadDbtException(
            "LoadMode.DBT_MANIFEST needs ProjectConfig.manifest_path. Give it, or use LoadMode.DBT_LS."
        )
    if not isinstance(path, str):
        from cosmos_venv.project.manifest import Manifest  # where a plan is kept nothing is read

        return Manifest(path)
    # What reads from elsewhere is imported only by those who have their manifest there.
    from cosmos_venv.remote.remote_file import RemoteFile

    file = RemoteFile(url=path, conn_id=request.project.manifest_conn_id)
    return _RemoteManifest(file=file, kept=caches.kept_manifests()).open()


class _RemoteManifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest at a URL. A copy of it is kept, and taken while the manifest is unchanged."""

    file: RemoteFile
    kept: FileCache | None

    def open(self) -> Manifest:
        """The manifest, copied only where it has changed since the last parse.

        Where no answer comes, the copy that is kept is taken, with a warning. Raises CosmosLoadDbtException when there
        is none.
        """
        from cosmos_venv.managed import resolve
        from cosmos_venv.project.manifest import Manifest
        from cosmos_venv.remote.download_cache import RemoteError

        known = self._kept_copy()
        try:
            copy = self.file.read(
                known=known.version if known else None,
                seconds=resolve.seconds_for_a_parse() or _PATIENCE,
                limit=settings.limit("artifact_max_bytes"),
            )
        except RemoteError as error:
            if known is None or error.has_answered:
                raise CosmosLoadDbtException(self._failure(error)) from None
            logger.warning(
                "ProjectConfig.manifest_path %s cannot be read now: %s. Its copy of %s ago is taken.",
                self.file,
                error,
                _age(self._seconds_since_confirmed()),
            )
            return Manifest(str(self.file), known.content)
        if copy is None:
            assert known is not None  # noqa: S101 - nothing else can be unchanged
            self._confirm()
            return Manifest(str(self.file), known.content)
        manifest = Manifest(str(self.file), copy.content)
        if self.kept is not None:  # only what is a manifest: an error page would be asked for no more
            self.kept.write(self._digest, copy.packed())
        return manifest

    @property
    def _digest(self) -> str:
        return hashlib.sha256(json.dumps([self.file.url, self.file.conn_id]).encode()).hexdigest()

    def _kept_copy(self) -> Copy | None:
        from cosmos_venv.remote.download_cache import Copy

        # With an age that counts, reading does not touch the time: it says when the copy was last known to be right.
        packed = None if self.kept is None else self.kept.read(self._digest, max_age=math.inf)
        return None if packed is None else Copy.unpacked(packed)

    def _confirm(self) -> None:
        if self.kept is not None:
            with suppress(OSError):
                os.utime(self.kept.path(self._digest))

    def _seconds_since_confirmed(self) -> float:
        assert self.kept is not None  # noqa: S101 - there is a copy
        try:
            return time.time() - self.kept.path(self._digest).stat().st_mtime
        except OSError:
            return 0.0

    def _failure(self, error: RemoteError) -> str:
        return (
            f"ProjectConfig.manifest_path {self.file} cannot be read: {error}. Correct it, or manifest_conn_id="
            f"{self.file.conn_id!r}; or deploy the manifest beside the project and name that file."
        )


def _age(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} seconds"


def _load_ls_file(request: LoadRequest) -> tuple[_Nodes, _Nodes]:
    from cosmos_venv.project.dbt_ls import LsFile

    path, config = request.render.dbt_ls_path, request.render
    if path is None:
        raise CosmosLoadDbtException(
            "LoadMode.DBT_LS_FILE needs RenderConfig.dbt_ls_path. Give it, or use LoadMode.DBT_LS."
        )
    _refuse_selector(request, "a file of what dbt ls has said holds no selectors")
    file = LsFile(path=path, folders=_artifact_folders(request))
    nodes = file.nodes()
    if not (config.select or config.exclude):
        return nodes, nodes
    return _selected(request, nodes, path, lambda: file.selected(config.select, config.exclude))


def _load_custom(request: LoadRequest) -> tuple[_Nodes, _Nodes]:
    from cosmos_venv.project.custom.parser import nodes_of_files
    from cosmos_venv.project.selection import evaluate, from_lists

    config = request.render
    _refuse_selector(request, "the project's files are read without dbt")
    _refuse_no_folder(request)
    nodes, selectable = nodes_of_files(request)
    _refuse_no_node(nodes, f"The project {request.project_dir}", "Correct the folders, or load it with dbt.")
    if not (config.select or config.exclude):
        return nodes, nodes
    return _selected(
        request, nodes, request.project_dir, lambda: evaluate(selectable, from_lists(config.select, config.exclude))
    )


def _refuse_no_folder(request: LoadRequest) -> None:
    if not request.project_dir.is_dir():
        raise CosmosLoadDbtException(
            f"The dbt project folder {request.project_dir} does not exist. Correct the path or deploy it."
        )


def _selected(
    request: LoadRequest, nodes: _Nodes, where: object, select: Callable[[], set[str]]
) -> tuple[_Nodes, _Nodes]:
    config = request.render
    try:
        ids = select()
    except CosmosValueError as error:
        raise CosmosValueError(f"RenderConfig.select, exclude or selector, with {where}: {error}") from None
    if config.exclude and not config.selector and settings.keep_excluded_tests:
        ids = ids | tests_of(ids, nodes)
    return nodes, {unique_id: node for unique_id, node in nodes.items() if unique_id in ids}


def _refuse_no_node(nodes: _Nodes, what: str, way_out: str) -> None:
    if not nodes:
        raise CosmosLoadDbtException(f"{what} has no nodes, and a DAG without tasks would be green. {way_out}")


def _refuse_selector(request: LoadRequest, reason: str) -> None:
    if request.render.selector:
        raise CosmosLoadDbtException(
            f"RenderConfig.selector={request.render.selector!r} does not go with {request.method}: {reason}. "
            "Use select and exclude, or load a manifest with LoadMode.DBT_MANIFEST."
        )


def _artifact_folders(request: LoadRequest) -> Folders:
    from cosmos_venv.project.node_entry import Folders

    file = request.project_file
    return Folders(project=request.project_dir, root_package=file.name, packages=file.packages_folder)


def _load_dbt_ls(request: LoadRequest) -> Loaded:
    from cosmos_venv.project.selection.evaluate import FITS_NOTHING

    if request.profile is None:
        raise CosmosLoadDbtException("dbt ls needs a profile: give profile_config, or load a manifest.")
    _refuse_no_folder(request)
    listing = list_nodes(request)
    selected = _nodes_of(request, listing)
    for line in listing.lines:  # dbt 2 says nothing of it
        if (found := _UNMATCHED.search(line)) is not None:
            logger.warning(FITS_NOTHING, found[1])
    method = LoadMode.DBT_LS_CACHE if listing.was_kept else request.method
    return Loaded(
        nodes=_whole_project(request) if _may_select(request) or not selected else selected,
        selected=selected,
        method=method,
        reason=request.reason,
        version=listing.version,
    )


def _nodes_of(request: LoadRequest, listing: Listing) -> _Nodes:
    from cosmos_venv.project.dbt_ls import parse_dbt_ls_output

    folders = _artifact_folders(request)
    return parse_dbt_ls_output(
        listing.lines,
        project_path=folders.project,
        root_package=folders.root_package,
        packages_folder=folders.packages,
    )


def _may_select(request: LoadRequest) -> bool:
    """Whether dbt ls leaves nodes out, by the configuration or by a default selector, whose value may be Jinja."""
    config = request.render
    is_selected = bool(config.select or config.exclude or config.selector)
    return is_selected or b"default" in _content(request.project_dir / _SELECTORS_FILE)


def _whole_project(request: LoadRequest) -> _Nodes:
    """All nodes: dbt must not take one of those that are not selected for one that is."""
    render = copy.copy(request.render)
    # Said like this, no default selector counts.
    render.select, render.exclude, render.selector = ["fqn:*", "source:*"], [], None
    whole = replace(request, render=render)
    nodes = _nodes_of(whole, list_nodes(whole))
    environment = request.environment
    level = next(
        (f"{name}={environment[name]}" for name in _LOG_LEVELS if environment.get(name) in ("none", "off")), ""
    )
    _refuse_no_node(
        nodes,
        f"By dbt ls the project {request.project_dir}",
        f"Take {level} away: dbt lists nodes by its log." if level else "Is its log level none, or model-paths wrong?",
    )
    return nodes


def list_nodes(request: LoadRequest) -> Listing:
    """The output of ``dbt ls`` for a project and a selection: a kept one, while nothing that matters has changed.

    :param request: what is loaded; it has a profile. With ``DBT_LS_CACHE`` dbt is never started.
    :raises CosmosLoadDbtException: when dbt fails, with its own last lines; when the environment or the answer is not
        ready yet; when nothing is kept that must be.
    :raises CosmosConfigException: when the dbt executable cannot be started.
    """
    from cosmos_venv.project.dbt_ls_runner import damage_behind, open_question

    with open_question(request, report=logger.info) as question:
        try:
            return _list(request, question)
        except (CosmosLoadDbtException, CosmosConfigException) as error:
            if damage := damage_behind(question, error):
                raise CosmosLoadDbtException(f"{error} {damage}") from error
            raise


def _list(request: LoadRequest, question: LsQuestion) -> Listing:
    from cosmos_venv.project.dbt_ls_runner import order_of
    from cosmos_venv.project.ls_cache import Listing, ask, kept_answers

    kept, reason = kept_answers(question)
    if kept is not None:
        # Before the lines: an answer that is newer than its version is merely not found under it.
        version, lines = kept.version, kept.read()
        if lines is not None:
            kept.share()
            return Listing(lines=lines, was_kept=True, version=version)
    if request.method is not LoadMode.DBT_LS_CACHE:
        return ask(order_of(request, question), kept, reason)
    lines = None if kept is None else kept.read_elsewhere()
    if lines is None:
        because = f"because {reason}" if reason else "for this content, dbt, profile, target, variables and selection"
        raise CosmosLoadDbtException(
            f"LoadMode.DBT_LS_CACHE: no answer of dbt ls for {question.project_dir} is kept {because}. Load it once "
            "with LoadMode.DBT_LS, or use that always: it starts no dbt while the answer is kept."
        )
    return Listing(lines=lines, was_kept=True, version=kept.version if kept else None)


def tests_of(selected: Container[str], nodes: Mapping[str, DbtNode]) -> set[str]:
    """Ids of the tests of which a parent is selected.

    :param selected: unique ids.
    :param nodes: all nodes of the project by unique id.
    """
    return {
        unique_id
        for unique_id, node in nodes.items()
        if node.resource_type is DbtResourceType.TEST and any(parent in selected for parent in node.depends_on)
    }


def version_of(request: LoadRequest, *, only_files: bool = False) -> str | None:
    """A text that differs where loading might give other nodes; None where that cannot be known.

    :param request: what would be loaded.
    :param only_files: whether None is the answer, too, where dbt would be asked.
    :raises CosmosLoadDbtException: where dbt is asked, and its environment is not ready yet.
    """
    if request.method in (LoadMode.DBT_LS, LoadMode.DBT_LS_CACHE):
        return None if only_files else _version_of_listing(request)
    if request.method is LoadMode.CUSTOM:
        from cosmos_venv.project.custom.parser import facts_of_files

        facts = facts_of_files(request)
    else:
        facts = _facts_of_artifact(request, _digest)
    if facts is None:
        return None
    return hashlib.sha256(json.dumps([settings.keep_excluded_tests, *facts], default=str).encode()).hexdigest()


def identity_of(request: LoadRequest) -> str | None:
    """A text that differs where an artifact was written anew, on this machine; nothing of it is read.

    :param request: what would be loaded.
    :returns: None where it is no artifact of this machine, or other files count as well.
    """
    if request.method not in (LoadMode.DBT_MANIFEST, LoadMode.DBT_LS_FILE):
        return None
    facts = _facts_of_artifact(request, _place_and_time)
    return None if facts is None else json.dumps([str(request.project_dir), settings.keep_excluded_tests, *facts])


def _version_of_listing(request: LoadRequest) -> str | None:
    if request.profile is None or not request.project_dir.is_dir():
        return None
    from cosmos_venv.project.dbt_ls_runner import open_question
    from cosmos_venv.project.ls_cache import kept_answers

    with open_question(request, report=logger.info) as question:
        kept, _ = kept_answers(question)
        return None if kept is None else kept.version


def _facts_of_artifact(request: LoadRequest, identify: Callable[[Path], object]) -> list[Any] | None:
    """Plain data that differs where the nodes of a manifest, or of a file of dbt ls, may; None as ``version_of``.

    ``identify`` gives what differs where the artifact itself does.
    """
    path = request.project.manifest_path if request.method is LoadMode.DBT_MANIFEST else request.render.dbt_ls_path
    # What lies elsewhere would have to be asked for, and the artifacts of another run count as well.
    if not isinstance(path, Path) or request.state_folder is not None:
        return None
    project_file = _content(request.project_dir / _PROJECT_FILE)
    facts = [request.method.value, identify(path), hashlib.sha256(project_file).hexdigest()]
    if _PACKAGES_KEY in project_file and _ENV_VAR in project_file:  # to read YAML takes as long as all the rest
        facts.append(request.project_file.packages_folder)
    return facts


def _content(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError:  # as below
        return b""


def _digest(path: Path) -> str:
    try:
        return digest_of_file(path, known=caches.kept_fingerprints())
    except OSError:  # loading it will say so, where it is needed
        return ""


def _place_and_time(path: Path) -> list[object]:
    try:
        found = path.stat()
    except OSError:  # as above
        return [str(path)]
    return [str(path), found.st_ino, found.st_size, found.st_mtime_ns]
