"""One call of the fake of dbt 2: its exit code, its JSON events and its artifacts are those of the real one."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from ..artifacts import NativeArtifacts, Result, node_info
from ..call import NODE_COMMANDS, BaseCall
from ..command_line import Invocation
from ..log import Console, now, setting, switch
from ..packages import PackageError
from ..project import LISTED, Node, Project
from ..script import SELECTING, Interrupted, Script

_RESULT_EVENTS = {"seed": "LogSeedResult", "snapshot": "LogSnapshotResult", "model": "LogModelResult"}
_WORDS = {"error": "Failed", "fail": "Failed", "pass": "Passed", "skipped": "Skipped", "warn": "Warned"}
_MESSAGES = {
    "fail": "Error",
    "pass": "Pass",
    "skipped": "Skipped due to upstream failure",
    "success": "Succeeded",
    "warn": "Warn",
}
_PRERELEASES = {"a": "alpha", "b": "beta", "rc": "rc"}
_SCRIPTED_ERROR = "Scripted Error: a test wants it so"
_FRESHNESS = "source freshness"
_DOCS = (
    "[warning] [DocsGenerateWarning (dbt1705)]: `dbt docs generate` is not supported. Use `dbt compile "
    "--write-catalog` to write catalog.json."
)


def shown_version(version: str) -> str:
    """Return a version as dbt 2 says it of itself: ``2.0.0-alpha.4`` for ``2.0.0a4``.

    :param version: the version, as an installer has it.
    """
    return re.sub(r"(a|b|rc)(\d+)$", lambda found: f"-{_PRERELEASES[found[1]]}.{found[2]}", version)


class NativeCall(BaseCall):
    """One call: its words, its work and its artifacts.

    :param invocation: the command line.
    :param script: the rule of the test for this call.
    :param installed: ``core`` and names of adapters -> their versions.
    :param project: the recorded project; None: that of the folder.
    """

    def __init__(
        self, invocation: Invocation, script: Script, installed: dict[str, str], project: Project | None = None
    ) -> None:
        super().__init__(invocation, script, installed, project)
        self._version = shown_version(installed["core"])
        self._name = {"ls": "list", _FRESHNESS: "freshness"}.get(self._command, self._command.partition(" ")[0])
        self._console = Console(invocation, silent=script.stdout is not None)
        self._results: list[Result] = []
        wanted = "--no-write-json" not in invocation.options
        self._artifacts: NativeArtifacts = NativeArtifacts(
            self._target, self._console, self._version, script.artifacts, wanted=wanted
        )

    def _version_text(self) -> str:
        return f"dbt-core {self._version}"

    def _say_interrupted(self) -> int:
        self._console.trouble("[error] [OperationCanceled (dbt8995)]: Operation cancelled")
        self._console.finish(self._name, self._sums())
        return 1

    def _do(self) -> int:
        is_project = (self._folder / "dbt_project.yml").is_file()
        if self._name != "docs" and not is_project and "--project-dir" not in self._invocation.options:
            print("[error] [IoError (dbt1001)]: The current dir is not a dbt project dir", file=sys.stderr)
            return 1
        self._begin()
        if self._name == "docs":
            self._script.pause()
            self._console.trouble(_DOCS)
            return self._finish()
        self._console.say(f"Running dbt-core {self._version}")
        if not is_project:
            file = self._folder.absolute() / "dbt_project.yml"
            return self._fail("IoError (dbt1001)", f"Failed to open file: {file}: No such file or directory")
        if self._command == "deps":
            self._script.pause()
            return self._install() or self._finish()
        profiles = setting(self._invocation, "--profiles-dir", default="")
        if profiles and not Path(profiles).exists():
            return self._fail("InvalidConfig (dbt1005)", f"No profiles.yml found at `{profiles}/profiles.yml`.")
        self._console.say(f"Loading {Path(profiles, 'profiles.yml')}")
        if (self._script.exit_code or 0) > 1:
            self._script.pause()
            return self._fail("InvalidConfig (dbt1005)", _SCRIPTED_ERROR)
        # dbt 2 installs packages that are listed and not there, without being asked.
        lacks = self._packages.count_installed() < len(self._packages.listed)
        if lacks and self._command not in ("clean", "debug") and self._install():
            return 1
        return self._work()

    def _begin(self) -> None:
        version, arguments = self._version, " ".join([sys.argv[0], *sys.argv[1:]])
        say = self._console.event
        text = f"Running with dbt-core={version}"
        say("MainReportVersion", text, log_version=3, version=f"={version}")
        args = {
            "debug": str(switch(self._invocation, "debug")).lower(),
            "invocation_command": arguments,
            "log_format": setting(self._invocation, "--log-format", default="default"),
            "quiet": str(self._console.is_quiet).lower(),
            "write_json": str("--no-write-json" not in self._invocation.options).lower(),
        }
        text = f"running dbt-core with arguments {json.dumps({'command': self._name})}"
        say("MainReportArgs", text, "debug", args=args)

    def _install(self) -> int:
        """Install the packages that are listed; the exit code of a failure, else 0."""
        if not self._packages.listed:
            return 0
        self._packages.clear()
        for package in self._packages.listed:
            try:
                name = self._packages.name(package)
            except PackageError:
                broken = self._folder.absolute() / package.source
                return self._fail("IoError (dbt1001)", f"Package does not contain a dbt_project.yml file: {broken}")
            self._packages.put(package, is_relative=True)
            self._console.say(f"Installed {name}")
        self._packages.write_lock()
        return 0

    def _work(self) -> int:
        project = self._read_nodes()
        nodes = project.work(self._invocation, with_added=self._script.names_its_selection)
        if self._command not in ("clean", "debug"):
            self._say_written("semantic_manifest.json", "ARTIFACT_TYPE_SEMANTIC_MANIFEST")
        if self._command in NODE_COMMANDS:
            self._run_nodes(project, nodes)
        else:
            self._script.pause()
            self._do_without_running(nodes)
            if self._command not in ("clean", "debug"):
                self._write_manifest(project)
        if "--write-catalog" in self._invocation.options:
            self._artifacts.write_catalog()
        if self._script.exit_code == 1 and not self._console.errors:
            self._console.trouble(f"[error] [Generic (dbt1000)]: {_SCRIPTED_ERROR}")
        return self._finish()

    def _do_without_running(self, nodes: list[Node]) -> None:
        if self._command in ("ls", "list"):
            self._list(nodes)
        elif self._command == "clean":
            self._remove_target()
            self._console.say("Removing target")
        elif self._command == "debug":
            self._console.say("All checks passed!", name="DebugCmdResult")
        elif self._command == _FRESHNESS:
            self._console.trouble("[warning] [Unexpected (dbt9002)]: Unhandled command: Source")
            self._artifacts.write_native_results([], self._name, 0.0)
        elif self._command in ("compile", "show"):
            self._results = [self._end_of(node, {"status": _default(node, fails=False)}, 0.0) for node in nodes]

    def _run_nodes(self, project: Project, nodes: list[Node]) -> None:
        if not nodes:
            self._script.pause()
            if selected := " ".join(self._words(*SELECTING)):
                unmatched = f"The selection criterion '{selected}' does not match any enabled nodes"
                self._console.trouble(f"[warning] [NoNodesForSelectionCriteria (dbt1092)]: {unmatched}")
            self._console.trouble("[warning] [NoNodesSelected (dbt1601)]: Nothing to do.")
        lost: set[str] = set()
        for node in nodes:
            outcome = self._outcome(node, lost)
            began = time.monotonic()
            self._start(node)
            if outcome["status"] != "skipped" and self._script.pauses_in(node.unique_id):
                self._pause(project, node, nodes)
            self._end(node, outcome, time.monotonic() - began)
            if self._script.pauses_after(node.unique_id):
                self._pause(project, None, nodes)
        self._write_manifest(project)
        self._artifacts.write_native_results(self._results, self._name, self._console.seconds)

    def _outcome(self, node: Node, lost: set[str]) -> dict[str, Any]:
        default = _default(node, fails=self._script.exit_code == 1)
        is_lost = not lost.isdisjoint(node.depends_on)
        outcome = self._script.end_of(node.unique_id, is_lost=is_lost, default=default)
        if outcome["status"] in ("error", "fail", "skipped"):
            lost.add(node.unique_id)
        return outcome

    def _start(self, node: Node) -> None:
        event, info, name = self._console.event, _node_info(node, "started"), _relation(node)
        kind = node.kind.replace("_", " ")
        event("NodeStart", f"Began running node {node.unique_id}", "debug", node_info=info)
        event("LogStartLine", f"Started {kind} {name}", node_info=info)
        info = _node_info(node, "executing")
        event("NodeExecuting", f"Started running {kind} {name}", "debug", node_info=info)

    def _pause(self, project: Project, node: Node | None, nodes: list[Node]) -> None:
        began = time.monotonic()
        try:
            self._script.pause()
        except Interrupted:
            if node is not None:
                text = f"Error executing materialization macro for {node.kind} {node.unique_id}: Cancelled: SQL "
                text = f"[error] [TaskCancelled (dbt1404)]: {text}statement execution was cancelled"
                self._end(node, {"status": "error"}, time.monotonic() - began, trouble=text)
            self._write_manifest(project)
            # As dbt 2 has it: every node that was selected, those that had succeeded too.
            broken = [Result(each, "error", "Compilation Error", None, now(), 0.0) for each in nodes]
            self._artifacts.write_native_results(broken, self._name, 0.0)
            raise

    def _end_of(self, node: Node, outcome: dict[str, Any], seconds: float) -> Result:
        status, failures = outcome["status"], outcome.get("failures")
        if failures is None and node.kind == "test":
            failures = {"pass": 0, "warn": 1, "fail": 1}.get(status)
        message = outcome.get("message") or native_message_of(node, status)
        return Result(node, status, message, failures, now(), seconds)

    def _end(self, node: Node, outcome: dict[str, Any], seconds: float, trouble: str | None = None) -> None:
        result = self._end_of(node, outcome, seconds)
        self._results.append(result)
        self._script.record_end(node.unique_id, result.status)
        if result.status == "error" and node.kind != "unit_test":
            self._console.trouble(trouble or f"[error] [DbDriverFailed (dbt1308)]: {result.message}", node.unique_id)
        self._console.errors += result.has_failed
        self._console.warnings += result.status == "warn"
        line = _node_line(result)
        shown = "fail" if node.kind == "unit_test" and result.has_failed else result.status
        facts: dict[str, Any] = {"execution_time": seconds, "status": shown}
        if "test" in node.kind and result.status != "skipped":
            facts["num_failures"] = result.failures or int(result.has_failed)
        info, event = _node_info(node, shown), self._console.event
        event(_RESULT_EVENTS.get(node.kind, "LogTestResult"), line, node_info=info, **facts)
        if result.has_failed or result.status == "skipped":
            text = f"Marking children of {node.unique_id} as skipped"
            marked = {"run_result": facts, "status": shown, "unique_id": node.unique_id}
            event("MarkSkippedChildren", text, "debug", **marked)
        event("NodeFinished", f"Finished running node {node.unique_id}", "debug", node_info=info, run_result=facts)

    def _list(self, nodes: list[Node]) -> None:
        form = self._invocation.last("--output", default="selector")
        keys = self._words("--output-keys")
        for node in sorted(nodes, key=lambda node: node.unique_id):
            facts = {"fqn": list(node.fqn), **self._artifacts.facts(node)}
            line = {
                "json": json.dumps(
                    {key: facts[key] for key in sorted(facts) if key in (keys or LISTED)}, separators=(",", ":")
                ),
                "name": node.search_name,
                "path": facts["original_file_path"],
            }.get(form, node.selector.removeprefix("exposure:"))
            self._console.show(line)

    def _write_manifest(self, project: Project) -> None:
        self._say_written("manifest.json", "WritableManifest")
        self._artifacts.write_manifest(project.name, next(iter(self._adapters_of_profiles()), ""), project.all_nodes)

    def _say_written(self, name: str, kind: str) -> None:
        path = f"{setting(self._invocation, '--target-path', default='target')}/{name}"
        text = f"Artifact written to {path}"
        self._console.event("ArtifactWritten", text, artifact_path=path, artifact_type=kind)

    def _fail(self, what: str, message: str) -> int:
        self._console.trouble(f"[error] [{what}]: {message}")
        return self._finish()

    def _finish(self) -> int:
        self._console.finish(self._name, self._sums())
        code = self._script.exit_code
        if code is not None and code != 2:  # 2 is an error, and 1 is dbt's code of it
            return code
        return int(self._console.errors > 0)

    def _sums(self) -> str:
        """The line that counts the nodes."""
        if not self._results:
            return ""
        statuses = [{"pass": "success", "fail": "error"}.get(each.status, each.status) for each in self._results]
        counts = ((statuses.count(status), status) for status in ("success", "warn", "error", "skipped"))
        return f"\nSummary: {len(statuses)} total | " + " | ".join(f"{n} {status}" for n, status in counts if n)


def _default(node: Node, *, fails: bool) -> str:
    if fails:
        return "fail" if node.kind == "test" else "error"
    return "pass" if "test" in node.kind else "success"


def native_message_of(node: Node, status: str) -> str:
    """Return dbt 2's message for the end of a node.

    :param node: the node.
    :param status: its status.
    """
    if status in _MESSAGES or node.kind == "unit_test":
        return _MESSAGES.get(status, "Error")
    return f"Database Error in {node.kind} {node.name} (target/run/{node.package}/{node.path})\n  {_SCRIPTED_ERROR}"


def _relation(node: Node) -> str:
    return f"{node.schema if 'test' not in node.kind else 'main_dbt_test__audit'}.{node.name}"


def _node_line(result: Result) -> str:
    node = result.node
    name = node.name if node.kind == "test" else _relation(node)
    return f"{_WORDS.get(result.status, 'Succeeded')} [{result.seconds:6.2f}s] {node.kind:<5} {name}"


def _node_info(node: Node, status: str) -> dict[str, Any]:
    schema, _, name = _relation(node).partition(".")
    relation = {"alias": name, "database": "dev", "relation_name": f"dev.{schema}.{name}", "schema": schema}
    materialized = "table" if node.kind == "seed" else node.materialized
    return {**node_info(node, status, relation), "materialized": materialized}
