"""The dbt projects of a DAG file: each ``DbtDag`` and ``DbtTaskGroup`` is noted when the file makes it.

These objects and their arguments are alike in both implementations: ``dbt_graph`` with ``nodes``, ``tasks_map``, and
the configurations. No other attribute is used.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.dag_checks.record import CONNECTION, CheckedProject, Effect
from pytest_cosmos_venv.dags.side_effects import SideEffect, Watch
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.runs.loading import with_init

CLASSES = ("DbtDag", "DbtTaskGroup")
_DUCKDB = {"type": "duckdb", "path": ":memory:", "schema": "main", "threads": 1}
_READ_VARIABLE = re.compile(r"env_var\(\s*['\"](\w+)['\"]\s*\)")
"""dbt's way to read a variable without a default."""

_Init = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class _Made:
    """One project.

    :param made: the ``DbtDag`` or ``DbtTaskGroup``.
    :param name: class and id.
    :param arguments: of its constructor.
    """

    made: Any
    name: str
    arguments: Mapping[str, Any]


class ProjectsOfFile:
    """The projects that a file makes, noted while it is imported.

    ``failed_in_dbt_ls`` is the name of the project that loads by ``dbt ls`` and whose constructor failed; None: none
    failed. ``load_by_dbt_ls`` is whether any project loads by ``dbt ls``. ``of_dbt_ls`` are the processes that such
    projects started and the Variables that they read, which their load method needs.
    """

    def __init__(self) -> None:
        self.failed_in_dbt_ls: str | None = None
        self.load_by_dbt_ls = False
        self.of_dbt_ls: list[SideEffect | Effect] = []
        self._made: list[_Made] = []

    @contextmanager
    def noted(self, roots: Sequence[str], watch: Watch, asked: Sequence[Effect]) -> Iterator[None]:
        """Record the projects that are made within the block.

        :param roots: import roots of implementations.
        :param watch: the side effects so far.
        :param asked: the Connections and Variables that were asked for so far.
        """
        from pytest_cosmos_venv.dag_checks.fake_connections import add_connection_of

        with ExitStack() as stack:
            for root in roots:
                package = importlib.import_module(root)
                mapping = importlib.import_module(f"{root}.profiles").BaseProfileMapping
                stack.enter_context(_after(mapping, add_connection_of))
                for name in CLASSES:
                    stack.enter_context(self._noting(getattr(package, name), watch, asked))
            yield

    def _noting(self, kind: Any, watch: Watch, asked: Sequence[Effect]) -> AbstractContextManager[None]:
        def init(original: _Init, made: Any, *arguments: Any, **keywords: Any) -> None:
            first = keywords.get("dag_id") or keywords.get("group_id") or next(iter(arguments), "")
            name = f"{kind.__name__} {first}".rstrip()
            is_listed = _loads_by_dbt_ls(keywords)
            effects_before, asked_before = len(watch.side_effects), len(asked)
            self._made.append(_Made(made=made, name=name, arguments=keywords))
            self.load_by_dbt_ls = self.load_by_dbt_ls or is_listed
            try:
                original(made, *arguments, **keywords)
            except BaseException:
                self.failed_in_dbt_ls = name if is_listed else None
                raise
            finally:
                if is_listed:
                    self.of_dbt_ls += watch.side_effects[effects_before:]
                    self.of_dbt_ls += [each for each in asked[asked_before:] if each.kind != CONNECTION]

        return with_init(kind, init)

    def described(self, dags: Sequence[Any]) -> tuple[CheckedProject, ...]:
        """Return the projects as data.

        :param dags: the DAGs of the file.
        """
        ids = {dag.dag_id for dag in dags}
        return tuple(_described(each) for each in self._made if _dag_id(each.made) in ids)


@contextmanager
def listed_by(dbt: str | None, roots: Sequence[str], *, folder: Path) -> Iterator[None]:
    """Use a given dbt to list the nodes of projects that are made within the block and load by ``dbt ls``.

    The project gets a DuckDB profile in place of its own: the given dbt lacks the adapter of the project's warehouse.

    :param dbt: the executable; empty: the import ends before nodes are listed; None: the file's own dbt lists them.
    :param roots: import roots of implementations.
    :param folder: the folder of profiles; made when missing.
    """
    if dbt is None:
        yield
        return
    with ExitStack() as stack:
        for root in roots:
            for name in CLASSES:
                stack.enter_context(_listing(getattr(importlib.import_module(root), name), dbt, root, folder))
        yield


def _listing(kind: Any, dbt: str, root: str, folder: Path) -> AbstractContextManager[None]:
    def init(original: _Init, made: Any, *arguments: Any, **keywords: Any) -> None:
        is_meant = _loads_by_dbt_ls(keywords)
        original(made, *arguments, **(_led_to(dbt, keywords, root=root, folder=folder) if is_meant else keywords))

    return with_init(kind, init)


def _led_to(dbt: str, arguments: Mapping[str, Any], *, root: str, folder: Path) -> Mapping[str, Any]:
    """Return the arguments of a project, changed so that a given dbt lists its nodes."""
    if not dbt:
        raise ToolkitMisuse("No dbt lists nodes in this import.")
    modes = importlib.import_module(f"{root}.constants").InvocationMode
    render = copy.copy(arguments.get("render_config")) or importlib.import_module(root).RenderConfig()
    render.dbt_executable_path = dbt
    render.invocation_mode = modes("subprocess")  # else the dbt of Airflow's own environment may list them
    profile = arguments.get("profile_config")
    if profile is not None:
        profile = type(profile)(
            profile_name=profile.profile_name,
            target_name=profile.target_name,
            profiles_yml_filepath=_profiles_yml(folder, profile.profile_name, profile.target_name),
        )
    return {**arguments, "render_config": render, "profile_config": profile}


def _profiles_yml(folder: Path, profile: str, target: str) -> Path:
    """Return a file with a profile of DuckDB. Its path stays the same, so that an implementation finds its kept
    listing.
    """
    text = json.dumps({profile: {"target": target, "outputs": {target: _DUCKDB}}})
    file = folder / hashlib.sha256(text.encode()).hexdigest()[:16] / "profiles.yml"
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return file


def _after(kind: Any, call: Callable[[Any], object]) -> AbstractContextManager[None]:
    """Call a function with each object of a class that is made within the block."""

    def init(original: _Init, made: Any, *arguments: Any, **keywords: Any) -> None:
        original(made, *arguments, **keywords)
        call(made)

    return with_init(kind, init)


def _described(noted: _Made) -> CheckedProject:
    made = noted.made
    return CheckedProject(
        name=noted.name,
        dag_id=_dag_id(made) or "",
        nodes={**dict.fromkeys(made.dbt_graph.nodes, ""), **_nodes_of_manifest(_manifest(noted.arguments))},
        tasks_of={name: tuple(_ids_below(each)) for name, each in made.tasks_map.items()},
        profile_error=_profile_error(noted.arguments.get("profile_config")),
    )


def _loads_by_dbt_ls(arguments: Mapping[str, Any]) -> bool:
    render = arguments.get("render_config")
    method = _value(_of(render, "load_method")) or "automatic"
    has_other = _manifest(arguments) is not None or _of(render, "dbt_ls_path")
    return method == "dbt_ls" or (method == "automatic" and not has_other)


def _of(configuration: Any, name: str) -> Any:
    return getattr(configuration, name, None)


def _value(member: Any) -> Any:
    return getattr(member, "value", member)


def _dag_id(made: Any) -> str | None:
    own = getattr(made, "dag_id", None)
    if isinstance(own, str):
        return own
    found = getattr(getattr(made, "dag", None), "dag_id", None)
    return found if isinstance(found, str) else None


def _ids_below(task_or_group: Any) -> Iterator[str]:
    children = getattr(task_or_group, "children", None)
    if isinstance(children, Mapping):
        for child in children.values():
            yield from _ids_below(child)
    elif hasattr(task_or_group, "task_id"):
        yield task_or_group.task_id


def _manifest(arguments: Mapping[str, Any]) -> Any:
    return _of(arguments.get("project_config"), "manifest_path")


def _nodes_of_manifest(manifest: Any) -> dict[str, str]:
    """Return unique id -> relation of the nodes of a manifest on this machine; none where there is no such file."""
    if manifest is None or not Path(str(manifest)).is_file():
        return {}
    data = json.loads(Path(str(manifest)).read_text(encoding="utf-8"))
    found = {}
    for name, node in {**data.get("nodes", {}), **data.get("sources", {}), **data.get("unit_tests", {})}.items():
        parts = (node.get("database"), node.get("schema"), node.get("alias") or node.get("name"))
        found[name] = ".".join(filter(None, parts))
    return found


def _profile_error(profile: Any) -> str | None:
    """Return why a profile does not render, with fake Connections in the place of real ones; None where it does."""
    if profile is None:
        return None
    import yaml

    try:
        with profile.ensure_profile() as (path, variables):
            text = Path(path).read_text(encoding="utf-8")
    except Exception as error:  # noqa: BLE001 - the implementation's own errors, which are told as they are
        return f"{type(error).__name__}: {error}"
    outputs = (yaml.safe_load(text) or {}).get(profile.profile_name, {}).get("outputs") or {}
    if profile.target_name not in outputs:
        known = ", ".join(map(str, outputs)) or "none"
        return f"profile {profile.profile_name!r} has no target {profile.target_name!r}; there are: {known}"
    if getattr(profile, "profile_mapping", None) is None:
        return None  # variables of a profiles.yml come from the worker
    unset = [name for name in _READ_VARIABLE.findall(text) if name not in {*variables, *os.environ}]
    return f"it reads variables that nobody sets: {', '.join(unset)}" if unset else None
