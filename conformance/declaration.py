"""The declarations of an adapter, from a process of the implementation: the suite never imports the implementation.

``tell`` runs in that process. Its answer is plain data, and is checked before it is used.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.implementation import SERVICES, ImplementationError, find_implementation
from pytest_cosmos_venv.throwaway import throwaway_folder

from .adapter import CAPABILITIES, Adapter, AdapterError
from .command_adapter import CommandAdapter
from .cosmos_layout import CosmosLayout, open_adapter, require_adapter
from .harness import processes
from .requirements import COMPATIBILITIES, CORE, PROFILES

_DBT = "/venv/bin/dbt run --profile shop --project-dir /shop"
_PIP = "pip install --quiet --python /venv/bin/python --find-links /wheels dbt-core"
_NO_SERVICE = (
    *("dbt", "dbt run", "python", "python3", "uv", "pip", "sleep", ""),
    *(_DBT, f"/venv/bin/python {_DBT}", f"/venv/bin/python3 -I {_DBT}"),
    *(f"/bin/uv {_PIP}", f"/venv/bin/python -m {_PIP}", f"/venv/bin/python /venv/bin/{_PIP}"),
)
"""Names and command lines of processes that no service pattern may match, or leaks would be hidden."""
_OF_LAYOUT = ("dags", "seeds", "watcher", "async")
"""Profiles that are judged by DAGs and operators: for these an adapter derives from ``CosmosLayout``."""
_START = f"import sys; sys.path[:] = sys.argv[2:]; from {__name__} import tell; tell(sys.argv[1])"
_ASKED, _ANSWERS = "asked.json", "answers.json"
_SHOWN = 3000
"""Characters of the process's output that are shown where it has not answered."""


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """The properties of an implementation that are known before a task runs.

    :param named: the text with which a process of the implementation gets its adapter: ``open_adapter(named)``.
    :param kind: the name of the adapter's class.
    :param import_root: such as ``cosmos_venv``; of a ``CommandAdapter`` the name that the program tells.
    :param version: the version of its distribution, or ``unknown``.
    :param profiles: the profiles by which it is judged.
    :param has: capabilities that it has.
    :param differs: id of a requirement -> why it does otherwise on purpose.
    :param beyond: ids of the BEYOND requirements that it is held to.
    :param services: patterns of processes that its tasks leave running by design.
    :param modules: modules that a process imports before tasks are forked from it.
    """

    named: str
    kind: str
    import_root: str
    version: str
    profiles: frozenset[str] = frozenset({CORE})
    has: frozenset[str] = frozenset()
    differs: Mapping[str, str]
    beyond: frozenset[str] = frozenset()
    services: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    def advice(self, seen: str) -> str:
        """A hint for the author of an adapter; empty where ``seen`` gives no reason for one.

        :param seen: what a smoke check has seen.
        """
        if f"No module named '{self.import_root}.operators" not in seen:
            return ""
        return (
            f" {self.import_root} has not Cosmos's import layout: override perform in an adapter, then name it with "
            "--cosmos-implementation=module:Adapter."
        )


def told_by(adapter: Adapter, version: str) -> dict[str, Any]:
    """The declarations of an adapter as plain data.

    :param adapter: in a process of the implementation.
    :param version: the version of the implementation, where it is imported here.
    :raises AdapterError: a program does not describe itself.
    """
    told = adapter.describe() if isinstance(adapter, CommandAdapter) else {}
    return {
        "named": adapter.named,
        "kind": type(adapter).__name__,
        "import_root": told.get("name", adapter.import_root),
        "version": told.get("version", version),
        "has_layout": isinstance(adapter, CosmosLayout),
        "profiles": _listed(adapter.profiles),
        "has": _listed(adapter.has),
        "differs": dict(adapter.differs),
        "beyond": _listed(adapter.beyond),
        "services": list(adapter.all_services),
        "modules": list(adapter.modules()),
    }


def _listed(declared: Any) -> Any:
    return declared if isinstance(declared, str) else list(declared)


def tell(folder: str) -> None:
    """Answer what the judge has asked: the declarations of one implementation, or of several.

    :param folder: holds the names of these, each as ``--cosmos-implementation`` takes it; gets the answers.
    """
    names = json.loads(Path(folder, _ASKED).read_text(encoding="utf-8"))
    answers = json.dumps([_answer(name) for name in names])
    Path(folder, _ANSWERS).write_text(answers, encoding="utf-8")


def _answer(named: str | None) -> dict[str, Any]:
    try:
        found = find_implementation(named)
        own = found.adapter_class is not None
        adapter = require_adapter(found.adapter()) if own else open_adapter(found.import_root)
        return told_by(adapter, found.version)
    except (ImplementationError, AdapterError) as error:
        return {"refused": str(error)}
    except Exception as error:  # noqa: BLE001 - of any kind: the author of the adapter needs the sentence
        return {"refused": f"{named} cannot be asked what it declares: {type(error).__name__}: {error}"}


def ask_for_declarations(names: Sequence[str | None]) -> list[Any]:
    """The answers of implementations, in one process that imports them.

    :param names: each as ``--cosmos-implementation`` takes it; None: the one that is installed.
    :raises AdapterError: the process has not answered; the text has its last output.
    """
    with throwaway_folder("cosmos-declarations-") as folder:
        Path(folder, _ASKED).write_text(json.dumps(names), encoding="utf-8")
        finished = processes.run([sys.executable, "-c", _START, str(folder), *sys.path], cwd=Path.cwd())
        try:
            answers = json.loads(Path(folder, _ANSWERS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            answers = None
    if isinstance(answers, list) and len(answers) == len(names):
        return answers
    asked = ", ".join(f"--cosmos-implementation={name}" for name in names if name) or "The installed implementation"
    code, words = finished.exit_code, finished.output.strip()[-_SHOWN:]
    ended = f"ended by itself with {code} before it answered"
    end = ended if code is not None else f"did not answer within {processes.TIMEOUT:.0f} s"
    raise AdapterError(f"{asked}: the process that imports it {end}. It wrote:\n{words or 'nothing'}")


def read_declaration(answer: Any, requirements: Collection[str]) -> Declaration:
    """The declaration that an answer holds.

    :param answer: what ``tell`` has written for one implementation.
    :param requirements: ids of all requirements.
    :raises AdapterError: no implementation can be chosen. Or it declares unknown names, profiles that need
        ``CosmosLayout``, or services that would hide leaks.
    """
    if not isinstance(answer, dict):
        raise AdapterError(f"The process that imports the adapter has answered nonsense: {str(answer)[:_SHOWN]}")
    if "refused" in answer:
        raise AdapterError(str(answer["refused"]))
    texts = {name: str(answer.get(name)) for name in ("kind", "named", "import_root", "version")}
    kind, differs = texts["kind"], answer.get("differs")
    for attribute, text in texts.items():
        if not text.isprintable():
            raise AdapterError(f"{kind}.{attribute} is {text!r}: give one line.")
    if not isinstance(differs, dict):
        raise AdapterError(f"{kind}.differs is no mapping: give ids of requirements, each with its reason.")
    lists = {name: _texts(answer, name) for name in ("profiles", "has", "beyond", "services", "modules")}
    found = Declaration(
        **texts,
        profiles=frozenset({CORE, *lists["profiles"]}),
        has=frozenset(lists["has"]),
        differs={str(name): str(reason) for name, reason in differs.items()},
        beyond=frozenset(lists["beyond"]),
        services=tuple(lists["services"]),
        modules=tuple(lists["modules"]),
    )
    _refuse_the_unknown(found, requirements)
    if not answer.get("has_layout") and (unmade := [name for name in _OF_LAYOUT if name in found.profiles]):
        raise AdapterError(
            f"{kind}.profiles names {', '.join(unmade)}, for which an adapter builds DAGs and operators: derive {kind} "
            f"from CosmosLayout (from {CosmosLayout.__module__} import CosmosLayout)."
        )
    _refuse_what_hides_leaks(found)
    return found


def _texts(answer: Mapping[str, Any], name: str) -> list[str]:
    declared = answer.get(name)
    place = f"{answer.get('kind')}.{name}"
    if isinstance(declared, list) and all(isinstance(each, str) and each.isprintable() for each in declared):
        return declared
    raise AdapterError(f"{place} is {declared!r}: give a set of texts, such as frozenset({{'deps'}}).")


def _refuse_the_unknown(found: Declaration, requirements: Collection[str]) -> None:
    for attribute, declared, known, way_out in (
        ("profiles", found.profiles, PROFILES, f"names of {', '.join(PROFILES)}"),
        ("has", found.has, CAPABILITIES, "capabilities such as deps"),
        ("differs", found.differs, requirements, "ids such as LOCK-017"),
        ("beyond", found.beyond, {*requirements, *COMPATIBILITIES}, "ids such as LOCK-017"),
    ):
        if strange := sorted(set(declared).difference(known)):
            raise AdapterError(
                f"{found.kind}.{attribute} names {', '.join(strange)}, which there is not: give {way_out}."
            )


def _refuse_what_hides_leaks(found: Declaration) -> None:
    for pattern in found.services:
        if hidden := [each for each in _NO_SERVICE if fnmatchcase(each, pattern)]:
            raise AdapterError(
                f"{found.kind}.services, or an entry point of the group {SERVICES}, names {pattern!r}, which fits "
                f"{hidden[0]!r} too, and what was left behind would be hidden: give the name of a process that stays "
                "by design."
            )
