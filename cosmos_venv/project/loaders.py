"""One loader for each load mode, and the version of what each of them would load.

A loader takes a ``LoadRequest`` and returns what it has found. What only one mode needs is imported when it is used: a
manifest needs no dbt.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cosmos_venv import settings
from cosmos_venv.constants import DbtResourceType, LoadMode
from cosmos_venv.exceptions import CosmosConfigException, CosmosLoadDbtException, CosmosValueError
from cosmos_venv.files.file_cache import digest_of_file
from cosmos_venv.files.read_limits import read_file
from cosmos_venv.managed import caches
from cosmos_venv.project.load_request import SELECTORS_FILE, Loaded, LoadRequest

if TYPE_CHECKING:
    from cosmos_venv.project.ls_cache import DbtAnswer
    from cosmos_venv.project.manifest import Manifest
    from cosmos_venv.project.node import DbtNode

    _Nodes = dict[str, DbtNode]

logger = logging.getLogger(__name__)

_PROJECT_FILE = "dbt_project.yml"
_ASKING = (LoadMode.DBT_LS, LoadMode.DBT_LS_CACHE)
_PACKAGES_KEY, _ENV_VAR = b"packages-install-path", b"env_var"
_UNMATCHED = re.compile("The selection criterion '(.+)' does not match any enabled nodes")
_CUSTOM = (
    "LoadMode.CUSTOM means LoadMode.DBT_LS: dbt says which nodes the project has. Write DBT_LS. Where a DAG is parsed "
    "without dbt, deploy a manifest and write DBT_MANIFEST."
)


def load(request: LoadRequest) -> Loaded:
    """The nodes of a project, and the selected ones among them.

    :param request: what is loaded, and how.
    :raises CosmosLoadDbtException: when the project cannot be loaded; the text says what is missing or broken.
    :raises CosmosValueError: when dbt would refuse the selection, with the item.
    """
    before = None if request.method in _ASKING else version_of(request)
    if request.render.load_method is LoadMode.CUSTOM:
        logger.warning(_CUSTOM)
    loaded = _load(request, before)
    # A deployment may have changed the files meanwhile.
    if before is not None and before == version_of(request):
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
        f"{', '.join(given) or 'nothing is given, so the default selector of selectors.yml counts'}."
    )
    if config.allow_empty_selection:
        logger.warning("%s allow_empty_selection makes an empty DAG of that.", text)
        return
    near = ", ".join(_nearest(config.select, nodes))
    hint = f" Did you mean {near}?" if near else ""
    raise CosmosLoadDbtException(
        f"{text}{hint} Correct the selection. If it may be empty: RenderConfig(allow_empty_selection=True)."
    )


def _nearest(items: Iterable[str], nodes: _Nodes) -> list[str]:
    """The names, paths, tags and sources that resemble a word of a selection, written as in a selection."""
    from difflib import get_close_matches

    known: set[str] = set()
    for node in nodes.values():
        if node.resource_type is not DbtResourceType.TEST:
            known.add(f"source:{node.resource_name}" if node.resource_type is DbtResourceType.SOURCE else node.name)
            known.update(f"path:{each}" for each in node.original_file_path.parents if each.name)
        known.update(f"tag:{tag}" for tag in node.tags)
    words = [word.strip("@+") for item in items for word in re.split("[ ,]", item)]
    return list(dict.fromkeys(near for word in words for near in get_close_matches(word, known)))


def _load(request: LoadRequest, version: str | None) -> Loaded:
    if request.method in _ASKING:
        return _load_dbt_ls(request)
    if request.method is LoadMode.DBT_LS_FILE:
        nodes = _load_ls_file(request)
        # dbt may have selected when the file was written.
        return Loaded(nodes=nodes, selected=nodes, method=request.method, reason=request.reason, is_whole=False)
    manifest, nodes = _read_manifest(request, version, lambda: _open_manifest(request))
    selected = _selected(request, manifest, nodes)
    return Loaded(nodes=nodes, selected=selected, method=request.method, reason=request.reason)


def _selected(request: LoadRequest, manifest: Manifest, nodes: _Nodes) -> _Nodes:
    """The selected nodes. Raises CosmosValueError or CosmosLoadDbtException for what cannot be evaluated here."""
    config, selector = request.render, request.render.selector
    selected = nodes
    if not (config.select or config.exclude or selector) and (selector := manifest.default_selector) is not None:
        logger.info("Nothing is selected, so the default selector %r counts, as in dbt.", selector)
    if config.select or config.exclude or selector:
        try:
            ids = manifest.selected(config.select, config.exclude, selector)
        except CosmosValueError as error:
            raise CosmosValueError(f"RenderConfig.select, exclude or selector, with {manifest.path}: {error}") from None
        if config.exclude and not selector and settings.keep_excluded_tests:
            tests = {each: node for each, node in nodes.items() if node.resource_type is DbtResourceType.TEST}
            ids = ids | {each for each, test in tests.items() if not ids.isdisjoint(test.depends_on)}
        selected = {unique_id: node for unique_id, node in nodes.items() if unique_id in ids}
    return selected


def _read_manifest(
    request: LoadRequest, version: str | None, open_it: Callable[[], Manifest]
) -> tuple[Manifest, _Nodes]:
    """The manifest and its nodes, read once for all groups of a DAG file that have selections of their own.

    Without a selection nothing is shared: most files have one DAG, for which it would only take memory.
    """
    from cosmos_venv.compat import shared_by_import  # it imports Airflow, which no loader needs

    config = request.render
    is_shared = version is not None and bool(config.select or config.exclude or config.selector)
    shared = shared_by_import() if is_shared else None
    key = __name__, request.project_dir, version
    if shared is not None and key in shared:
        known: tuple[Manifest, _Nodes] = shared[key]
        return known
    manifest = open_it()
    if not manifest.has_whole_selectors:
        manifest.use_selectors(_content(request.project_dir / SELECTORS_FILE))
    nodes = manifest.nodes(project_path=request.project_dir, packages_folder=request.project_file.packages_folder)
    if not nodes:
        raise CosmosLoadDbtException(
            f"{manifest.path} has no nodes, and a DAG without tasks would be green. Is model-paths wrong? Write a "
            "manifest anew with `dbt parse`."
        )
    if shared is not None:
        shared[key] = manifest, nodes
    return manifest, nodes


def _open_manifest(request: LoadRequest) -> Manifest:
    path = request.project.manifest_path
    if path is None:
        raise CosmosLoadDbtException(
            "LoadMode.DBT_MANIFEST needs ProjectConfig.manifest_path. Give it, or use LoadMode.DBT_LS."
        )
    if not isinstance(path, str):
        from cosmos_venv.project.manifest import Manifest  # with a kept plan no manifest is read

        return Manifest(path)
    # Imported only for a manifest at a URL.
    from cosmos_venv.project.remote_manifest import open_remote
    from cosmos_venv.remote.remote_file import RemoteFile

    file = RemoteFile(url=path, conn_id=request.project.manifest_conn_id)
    return open_remote(file, caches.kept_manifests())


def _load_ls_file(request: LoadRequest) -> _Nodes:
    from cosmos_venv.project.dbt_ls import nodes_of_file
    from cosmos_venv.project.node_entry import ProjectFolders

    path, config, project_file = request.render.dbt_ls_path, request.render, request.project_file
    if path is None:
        raise CosmosLoadDbtException(
            "LoadMode.DBT_LS_FILE needs RenderConfig.dbt_ls_path. Give it, or use LoadMode.DBT_LS."
        )
    for name in ("select", "exclude", "selector"):
        if getattr(config, name):
            raise CosmosLoadDbtException(
                f"RenderConfig.{name}={getattr(config, name)!r} does not go with LoadMode.DBT_LS_FILE: the file is the "
                "selection. Give these words to the `dbt ls` that writes the file, or load with DBT_MANIFEST or DBT_LS."
            )
    folders = ProjectFolders(
        project=request.project_dir, root_package=project_file.name, packages=project_file.packages_folder
    )
    return nodes_of_file(path, folders)


def _load_dbt_ls(request: LoadRequest) -> Loaded:
    if not request.project_dir.is_dir():
        raise CosmosLoadDbtException(
            f"The dbt project folder {request.project_dir} does not exist. Correct the path or deploy it."
        )
    if request.profile is None:
        raise CosmosLoadDbtException(
            "dbt ls needs a profile: give profile_config, or load a manifest with LoadMode.DBT_MANIFEST."
        )
    from cosmos_venv.project.manifest import Manifest

    answer, source = answer_of(request), f"what dbt ls has said of {request.project_dir}"
    manifest, nodes = _read_manifest(request, answer.version, lambda: Manifest(source, answer.content))
    answers = [answer]
    try:
        selected = _selected(request, manifest, nodes) if _can_select(request, manifest) else None
    except (CosmosValueError, CosmosLoadDbtException) as error:
        logger.info("dbt ls selects in %s: %s", request.project_dir, error)
        selected = None
    if selected is None:
        if not request.render.selector:
            from cosmos_venv.dbt.selection_texts import refuse_words_of_cosmos

            refuse_words_of_cosmos("RenderConfig.select, exclude", [*request.render.select, *request.render.exclude])
        answers.append(answer_of(request, is_selection=True))
        selected = _listed(nodes, answers[-1].content)
    method = LoadMode.DBT_LS_CACHE if all(each.was_kept for each in answers) else request.method
    version = answer.version if all(each.version for each in answers) else None
    return Loaded(nodes=nodes, selected=selected, method=method, reason=request.reason, version=version)


def _can_select(request: LoadRequest, manifest: Manifest) -> bool:
    """Whether the manifest is enough to select: it has all YAML selectors, or none is used, also no default one."""
    config = request.render
    items = [*config.select, *config.exclude]
    has_items = bool(items) and not config.selector and not any("selector:" in item for item in items)
    return has_items or manifest.has_whole_selectors or not _content(request.project_dir / SELECTORS_FILE)


def _listed(nodes: _Nodes, content: bytes) -> _Nodes:
    """The nodes that dbt has selected."""
    from cosmos_venv.project.dbt_ls import listed_ids
    from cosmos_venv.project.selection.evaluate import FITS_NOTHING

    # Not splitlines(): that breaks at the line separators of Unicode, which JSON leaves as they are in a text.
    lines = content.decode(errors="replace").split("\n")
    for line in lines:  # dbt 2 writes no such warning
        if (found := _UNMATCHED.search(line)) is not None:
            logger.warning(FITS_NOTHING, found[1])
    ids = listed_ids(lines)
    return {unique_id: node for unique_id, node in nodes.items() if unique_id in ids}


def answer_of(request: LoadRequest, *, is_selection: bool = False) -> DbtAnswer:
    """The answer of ``dbt ls`` to one question: the kept answer, while its basis has not changed.

    :param request: what is loaded; it has a profile. With ``DBT_LS_CACHE`` dbt is never started.
    :param is_selection: whether dbt is to evaluate the selection; else it is asked for the manifest.
    :raises CosmosLoadDbtException: when dbt fails, with its own last lines; when the environment or the answer is not
        ready yet; when ``DBT_LS_CACHE`` finds no kept answer.
    :raises CosmosConfigException: when the dbt executable cannot be started.
    """
    from cosmos_venv.project.dbt_ls_runner import open_question, prepared, retire_if_damaged
    from cosmos_venv.project.ls_answer import ask
    from cosmos_venv.project.ls_cache import kept_answer

    with open_question(request, is_selection=is_selection) as question:
        kept, reason = kept_answer(question)
        if kept is not None and (answer := kept.find()) is not None:
            return answer
        if request.method is not LoadMode.DBT_LS_CACHE:
            try:
                return ask(prepared(request, question), kept, reason)
            except (CosmosLoadDbtException, CosmosConfigException) as error:
                if damage := retire_if_damaged(question, error):
                    raise CosmosLoadDbtException(f"{error} {damage}") from error
                raise
    because = f"because {reason}" if reason else "for this content, dbt, profile, target and variables"
    raise CosmosLoadDbtException(
        f"LoadMode.DBT_LS_CACHE: no answer of dbt ls for {request.project_dir} is kept {because}. Load it once "
        "with LoadMode.DBT_LS, or use that always: it starts no dbt while the answer is kept."
    )


def version_of(request: LoadRequest) -> str | None:
    """A text that differs where loading might give other nodes; None where that cannot be known.

    :param request: what would be loaded.
    :raises CosmosLoadDbtException: where dbt is asked, and its environment is not ready yet.
    """
    if request.method in _ASKING:
        return _version_of_listing(request)
    path = request.render.dbt_ls_path if request.method is LoadMode.DBT_LS_FILE else request.project.manifest_path
    if not isinstance(path, Path):  # for a URL, the server would have to be asked
        return None
    project_file = _content(request.project_dir / _PROJECT_FILE)
    facts = [
        request.method.value,
        _digest(path),
        hashlib.sha256(project_file).hexdigest(),
        hashlib.sha256(_content(request.project_dir / SELECTORS_FILE)).hexdigest(),  # read beside a manifest of dbt 2
        settings.keep_excluded_tests,
        settings.enable_lax_selector_parsing,
    ]
    if _PACKAGES_KEY in project_file and _ENV_VAR in project_file:  # to read YAML takes as long as all the rest
        facts.append(request.project_file.packages_folder)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _version_of_listing(request: LoadRequest) -> str | None:
    if request.profile is None or not request.project_dir.is_dir():
        return None
    from cosmos_venv.project.dbt_ls_runner import open_question
    from cosmos_venv.project.ls_cache import kept_answer

    with open_question(request) as question:
        kept, _ = kept_answer(question)
        return None if kept is None else kept.version


def _content(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError:  # loading reports it, where the file is needed
        return b""


def _digest(path: Path) -> str:
    try:
        return digest_of_file(path, known=caches.kept_fingerprints())
    except OSError:  # loading reports it, where the file is needed
        return ""
