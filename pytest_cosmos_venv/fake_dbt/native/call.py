"""One call of the fake of dbt 2: its exit code, its JSON events and its artifacts are those of the real dbt 2."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from ..artifacts import NativeArtifacts, NodeResult
from ..call import NODE_COMMANDS, BaseCall
from ..log import Console, now, setting, switch
from ..packages import PackageError
from ..project import Node, Project
from ..script import SELECTING, Interrupted
from .node_run import SCRIPTED_ERROR, NativeRun

_PRERELEASES = {"a": "alpha", "b": "beta", "rc": "rc"}
_FRESHNESS = "source freshness"
_DOCS = (
    "[warning] [DocsGenerateWarning (dbt1705)]: `dbt docs generate` is not supported. Use `dbt compile "
    "--write-catalog` to write catalog.json."
)


def shown_version(version: str) -> str:
    """Return a version as dbt 2 prints it: ``2.0.0-alpha.4`` for ``2.0.0a4``.

    :param version: the version, as an installer has it.
    """
    return re.sub(r"(a|b|rc)(\d+)$", lambda found: f"-{_PRERELEASES[found[1]]}.{found[2]}", version)


class NativeCall(BaseCall):
    """One call of dbt 2: its words, its work and its artifacts."""

    def _prepare(self) -> None:
        self._version = shown_version(self._installed["core"])
        self._name = {"ls": "list", _FRESHNESS: "freshness"}.get(self._command, self._command.partition(" ")[0])
        self._console = Console(self._invocation, silent=self._script.stdout is not None)
        self._results: list[NodeResult] = []
        self._artifacts: NativeArtifacts = NativeArtifacts(
            self._target, self._console, self._version, self._script.artifacts, wanted=self._writes_json
        )

    def _version_text(self) -> str:
        return f"dbt-core {self._version}"

    def _say_interrupted(self) -> int:
        self._console.trouble("[error] [OperationCanceled (dbt8995)]: Operation cancelled")
        self._console.finish(self._name, self._sums())
        return 1

    def _do(self) -> int:
        self._begin()
        if self._name == "docs":
            self._script.pause()
            self._console.trouble(_DOCS)
            return self._finish()
        self._console.say(f"Running dbt-core {self._version}")
        file = self._folder.absolute() / "dbt_project.yml"
        if not file.is_file():
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
            return self._fail("InvalidConfig (dbt1005)", SCRIPTED_ERROR)
        # dbt 2 installs missing packages without ``dbt deps``.
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
            "write_json": str(self._writes_json).lower(),
        }
        text = f"running dbt-core with arguments {json.dumps({'command': self._name})}"
        say("MainReportArgs", text, "debug", args=args)

    def _install(self) -> int:
        """Install the listed packages; return the exit code of a failure, else 0."""
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
        reads_project = self._command not in ("clean", "debug")
        if is_refused := bool(reads_project and project.refusals):
            self._console.trouble(f"[error] [DependencyNotFound (dbt1048)]: {project.refusals[0]}")
        if reads_project:
            self._say_written("semantic_manifest.json", "ARTIFACT_TYPE_SEMANTIC_MANIFEST")
        if is_refused:
            self._write_manifest(project)
            if self._command in NODE_COMMANDS:
                self._artifacts.write_native_results([], self._name, 0.0)
        elif self._command in NODE_COMMANDS:
            self._run_nodes(project, nodes)
        else:
            self._script.pause()
            self._do_without_running(nodes)
            if reads_project:
                self._write_manifest(project)
        if "--write-catalog" in self._invocation.options:
            self._artifacts.write_catalog()
        if self._script.exit_code == 1 and not self._console.errors:
            self._console.trouble(f"[error] [Generic (dbt1000)]: {SCRIPTED_ERROR}")
        return self._finish()

    def _do_without_running(self, nodes: list[Node]) -> None:
        if self._command in ("ls", "list"):
            for line in self._listed(nodes):
                self._console.show(line.removeprefix("exposure:"))
        elif self._command == "clean":
            self._remove_target()
            self._console.say("Removing target")
        elif self._command == "debug":
            self._console.say("All checks passed!", name="DebugCmdResult")
        elif self._command == _FRESHNESS:
            self._console.trouble("[warning] [Unexpected (dbt9002)]: Unhandled command: Source")
            self._artifacts.write_native_results([], self._name, 0.0)
        elif self._command in ("compile", "show"):
            self._results = self._run_of(nodes).succeeded()

    def _run_nodes(self, project: Project, nodes: list[Node]) -> None:
        if not nodes:
            self._script.pause()
            if selected := " ".join(self._invocation.words_of(*SELECTING)):
                unmatched = f"The selection criterion '{selected}' does not match any enabled nodes"
                self._console.trouble(f"[warning] [NoNodesForSelectionCriteria (dbt1092)]: {unmatched}")
            self._console.trouble("[warning] [NoNodesSelected (dbt1601)]: Nothing to do.")
        run = self._run_of(nodes)
        self._results = run.results
        try:
            run.work()
        except Interrupted:
            self._write_manifest(project)
            # As in dbt 2: every selected node, even a node that had succeeded.
            broken = [NodeResult(each, "error", "Compilation Error", None, now(), 0.0) for each in nodes]
            self._artifacts.write_native_results(broken, self._name, 0.0)
            raise
        self._write_manifest(project)
        self._artifacts.write_native_results(self._results, self._name, self._console.seconds)

    def _run_of(self, nodes: list[Node]) -> NativeRun:
        return NativeRun(nodes, self._script, self._console)

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
        if code is not None and code != 2:  # 2 stands for an error, for which dbt 2 ends with 1
            return code
        return int(self._console.errors > 0)

    def _sums(self) -> str:
        """The line that counts the nodes."""
        if not self._results:
            return ""
        statuses = [{"pass": "success", "fail": "error"}.get(each.status, each.status) for each in self._results]
        counts = ((statuses.count(status), status) for status in ("success", "warn", "error", "skipped"))
        return f"\nSummary: {len(statuses)} total | " + " | ".join(f"{n} {status}" for n, status in counts if n)
