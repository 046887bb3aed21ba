"""One call of the fake dbt: it prints dbt's output for the command, ends its nodes, and writes the artifacts."""

from __future__ import annotations

import json
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .artifacts import Artifacts
from .command_line import Invocation, UsageError
from .log import Log, setting
from .node_run import NodeRun
from .packages import NO_PROJECT, PackageError, Packages
from .project import LISTED, Node, Project, read_project
from .script import Interrupted, Script

NODE_COMMANDS = ("run", "build", "seed", "snapshot", "test", "retry", "clone")
_FRESHNESS = ("source freshness", "source snapshot-freshness")
INTERRUPTED = 2


class DbtRuntimeError(Exception):
    """An error in dbt's words, before any node runs."""


class BaseCall(ABC):
    """One call: the part that dbt 1 and dbt 2 have in common.

    :param invocation: the command line.
    :param script: the rule of the test for this call.
    :param installed: ``core`` and names of adapters -> their versions.
    :param project: the recorded project; None: the project of the folder.
    """

    _artifacts: Artifacts

    def __init__(
        self, invocation: Invocation, script: Script, installed: dict[str, str], project: Project | None = None
    ) -> None:
        self._recorded = project
        self._invocation = invocation
        self._script = script
        self._installed = installed
        self._command = invocation.command
        self._folder = Path(setting(invocation, "--project-dir", default="."))
        self._target = self._folder / setting(invocation, "--target-path", default="target")
        self._packages = Packages(self._folder)
        self._prepare()

    def run(self) -> int:
        """Run the call, and return the exit code."""
        for line in self._script.stdout or ():
            print(line, flush=True)
        for line in self._script.stderr:
            print(line, file=sys.stderr, flush=True)
        if self._command == "--version":
            self._script.pause()
            if self._script.stdout is None:
                print(self._version_text())
            return self._script.exit_code or 0
        try:
            exit_code = self._do()
        except Interrupted:
            return self._say_interrupted()
        self._artifacts.write_scripted()
        return exit_code

    @abstractmethod
    def _prepare(self) -> None:
        """Create the objects for output and artifacts."""

    @abstractmethod
    def _do(self) -> int: ...

    @abstractmethod
    def _version_text(self) -> str: ...

    @abstractmethod
    def _say_interrupted(self) -> int:
        """Print that the call was interrupted, and return the exit code."""

    def _read_nodes(self) -> Project:
        project = self._recorded or read_project(
            self._folder, self._script.nodes, self._invocation, next(iter(self._adapters_of_profiles()), "")
        )
        self._script.record_unread(project.unread)
        project.check_script(self._script, self._artifacts.status_refusal)
        return project

    def _listed(self, nodes: list[Node]) -> Iterator[str]:
        """Yield the lines of ``dbt ls``."""
        form = self._invocation.last("--output", default="selector")
        keys = self._invocation.words_of("--output-keys") or LISTED
        for node in sorted(nodes, key=lambda node: node.unique_id):
            facts = self._facts_of(node)
            yield {
                "json": json.dumps({key: facts[key] for key in facts if key in keys}),
                "name": node.search_name,
                "path": facts["original_file_path"],
            }.get(form, node.selector)

    def _facts_of(self, node: Node) -> dict[str, Any]:
        """Return the entry of a node in ``dbt ls --output json``, with all keys."""
        return {"fqn": list(node.fqn), **self._artifacts.facts(node)}

    @property
    def _writes_json(self) -> bool:
        return "--no-write-json" not in self._invocation.options

    def _remove_target(self) -> None:
        import shutil

        shutil.rmtree(self._target, ignore_errors=True)

    @property
    def _profiles_folder(self) -> Path:
        return Path(setting(self._invocation, "--profiles-dir", default=str(self._folder)))

    def _adapters_of_profiles(self) -> list[str]:
        try:
            text = (self._profiles_folder / "profiles.yml").read_text(encoding="utf-8")
        except OSError:
            return []
        return re.findall(r"\btype:\s*['\"]?(\w+)", text)


class Call(BaseCall):
    """One call of dbt 1: its words, its work and its artifacts."""

    def _prepare(self) -> None:
        for name in ("--project-dir", "--profiles-dir"):
            place = setting(self._invocation, name, default=".")
            if not Path(place).exists():
                raise UsageError(f"Invalid value for '{name}': Path '{place}' does not exist.")
        self._log = Log(self._invocation, silent=self._script.stdout is not None)
        self._artifacts = Artifacts(
            self._target, self._log, self._installed["core"], self._script.artifacts, wanted=self._writes_json
        )

    def _do(self) -> int:
        version = self._installed["core"]
        self._log.say(f"Running with dbt={version}", name="MainReportVersion", version=f"={version}", log_version=3)
        try:
            return self._do_command()
        except (DbtRuntimeError, PackageError) as error:
            self._log.say(f"Encountered an error:\n{error}", name="MainEncounteredError", level="error")
            return 2 if self._script.exit_code is None else self._script.exit_code

    def _say_interrupted(self) -> int:
        self._log.say("Encountered an error:\n", name="MainEncounteredError", level="error")
        trace = "Traceback (most recent call last):\nKeyboardInterrupt\n"
        self._log.say(trace, name="MainStackTrace", level="error")
        return INTERRUPTED

    def _do_command(self) -> int:
        if not (self._folder / "dbt_project.yml").is_file():
            raise DbtRuntimeError(NO_PROJECT.format(file=(self._folder / "dbt_project.yml").absolute()))
        if self._command not in ("deps", "clean", "debug"):
            self._say_adapter()
            self._packages.check()
        if (self._script.exit_code or 0) > 1:
            self._script.pause()
            raise DbtRuntimeError("Runtime Error\n  Scripted Error: a test wants it so")
        if self._command in (*NODE_COMMANDS, *_FRESHNESS):
            return self._run_nodes()
        self._script.pause()
        self._do_without_nodes()
        return self._script.exit_code or 0

    def _run_nodes(self) -> int:
        project = self._read_project()
        work = self._work(project)
        if not work:
            self._script.pause()
            self._log.say("Nothing to do. Try checking your model configs and model specification args")
            self._artifacts.write_manifest(project.name, self._adapter, project.all_nodes)
            self._write_results(NodeRun([], self._script, self._log))
            return self._script.exit_code or 0
        # dbt has no environment variable for this option.
        threads = int(self._invocation.last("--threads", default="1"))
        target = setting(self._invocation, "--target", "-t", default="dev")
        self._log.say()
        self._log.say(
            f"Concurrency: {threads} threads (target='{target}')",
            name="ConcurrencyLine",
            node_count=len(work),
            num_threads=threads,
            target_name=target,
        )
        self._log.say()
        run = NodeRun(work, self._script, self._log)
        self._artifacts.write_manifest(project.name, self._adapter, project.all_nodes)
        try:
            run.work()
        except Interrupted:
            self._write_results(run)
            raise
        self._log.say()
        run.say_finished()
        if self._command in _FRESHNESS:
            self._log.say("Done.")
        else:
            run.say_summary()
        self._write_results(run)
        return self._script.exit_code if self._script.exit_code is not None else int(run.has_failed)

    def _work(self, project: Project) -> list[Node]:
        for criterion in project.unmatched(self._invocation):
            self._log.say(
                f"The selection criterion '{criterion}' does not match any enabled nodes",
                name="NoNodesForSelectionCriteria",
                level="warn",
                spec_raw=criterion,
            )
        return project.work(self._invocation, with_added=self._script.names_its_selection)

    def _write_results(self, run: NodeRun) -> None:
        if self._command in _FRESHNESS:
            self._artifacts.write_sources(run.results, run.seconds)
            return
        args = {
            "invocation_command": " ".join(["dbt", *sys.argv[1:]]),
            "project_dir": str(self._folder.absolute()),
            "profiles_dir": str(self._profiles_folder),
        }
        self._artifacts.write_run_results(run.results, self._command, run.seconds, args)

    def _do_without_nodes(self) -> None:
        command = self._command
        if command in ("ls", "list"):
            self._list(self._read_project())
        elif command == "deps":
            self._packages.install(self._log)
        elif command == "clean":
            self._remove_target()
            self._log.say("Finished cleaning all paths.", name="FinishedCleanPaths")
        elif command == "debug":
            self._log.say("All checks passed!")
        elif command in ("parse", "compile", "show", "docs generate"):
            project = self._read_project()
            self._artifacts.write_manifest(project.name, self._adapter, project.all_nodes)
            if command == "docs generate":
                self._artifacts.write_catalog()
                page = self._target / "index.html"
                page.write_text("<!doctype html><title>dbt Docs</title>\n", encoding="utf-8")
                self._log.say("Building catalog", name="BuildingCatalog")
                self._log.say(f"Catalog written to {(self._target / 'catalog.json').absolute()}")

    def _list(self, project: Project) -> None:
        wanted = self._work(project)
        self._artifacts.write_manifest(project.name, self._adapter, project.all_nodes)
        if not wanted:
            self._log.say("No nodes selected!", name="NoNodesSelected", level="warn")
        for line in self._listed(wanted):
            self._log.show(line, name="ListCmdOut")

    def _facts_of(self, node: Node) -> dict[str, Any]:
        is_told = node.kind == "model" and self._artifacts.is_1_12
        return super()._facts_of(node) | ({"direct_parents": list(node.depends_on)} if is_told else {})

    def _read_project(self) -> Project:
        project = self._read_nodes()
        if project.refusals:
            raise DbtRuntimeError(f"Compilation Error\n  {project.refusals[0]}")
        self._say_found(project)
        return project

    def _say_found(self, project: Project) -> None:
        kinds = (("model", "model"), ("snapshot", "snapshot"), ("seed", "seed"), ("test", "data test"))
        counts = [(sum(node.kind == kind for node in project.nodes), noun) for kind, noun in kinds]
        parts = [f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in counts if number] + ["0 macros"]
        self._log.say(f"Found {', '.join(parts)}", name="FoundStats", stat_line=", ".join(parts))

    @property
    def _adapter(self) -> str:
        installed = [name for name in self._installed if name != "core"]
        return next((name for name in [*self._adapters_of_profiles(), *installed] if name in installed), "")

    def _say_adapter(self) -> None:
        name = self._adapter
        if name:
            version = self._installed[name]
            text = f"Registered adapter: {name}={version}"
            self._log.say(text, name="AdapterRegistered", adapter_name=name, adapter_version=f"={version}")

    def _version_text(self) -> str:
        lines = ["Core:", f"  - installed: {self._installed['core']}", ""]
        lines += ["  The latest version of dbt-core could not be determined!", "", "Plugins:"]
        names = [name for name in self._installed if name != "core"]
        width = max(map(len, names), default=0) + 1
        for name in names:
            lines.append(f"  - {name + ':':<{width}} {self._installed[name]} - Could not determine latest version")
        return "\n".join([*lines, "", ""])
