"""The results of one dbt invocation: artifacts, failures, warnings, SQL.

dbt 2 has other words for most things, and writes its log file as text; what it says was read off dbt-core 2.0.0a4.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cosmos_venv.dbt.log_lines import (
    FAILED_STATUSES,
    WARNED,
    NodeOutcome,
    error_in,
    is_unasked,
    message,
    node_event,
    without_colour,
    without_time,
)
from cosmos_venv.dbt.native import output
from cosmos_venv.files.read_limits import ANY_SIZE, decoded, read_file

TAIL_LINES = 25
MOST_ERRORS = 20
MOST_FAILURES = 20
MOST_BATCHES = 5
_LONGEST_MESSAGE = 4_000
_COMPILED = "compiled code at "
_NO_ADAPTER = r"Could not find adapter type (?P<type>\w+)!"
_NO_DRIVER = "driver from name"
_OF_A_THREAD = "Exception on worker thread. "
_BATCH = re.compile(r"batch (\S+) of ")
# The messages that dbt has for a model with failed batches; they give no reason.
_NO_MESSAGE = re.compile(r"(ERROR|SKIPPED|PARTIAL SUCCESS.*)?")
_SOURCE_BROKEN = re.compile(r"\bERROR freshness of (\S+)")
_OF_A_SOURCE = " freshness of "
_ALL = ("manifest.json", "run_results.json", "sources.json")
# Characters of one file; no file is added after so many. Airflow shows 4,096 ([core] max_templated_field_length).
_MOST_SQL = 65_536

Stamps = Mapping[Path, tuple[int, int, int]]
"""Inode, size and time of files, by path."""


class _BatchResults(msgspec.Struct):
    """The begin and end of each part of a microbatch model."""

    successful: list[Any] = []
    failed: list[Any] = []


class _Result(msgspec.Struct):
    unique_id: str
    status: str
    message: str | None = None
    failures: float | None = None
    execution_time: float = 0.0
    adapter_response: dict[str, Any] = {}
    batch_results: _BatchResults | None = None


class _RunResults(msgspec.Struct):
    results: list[_Result]


class _Threshold(msgspec.Struct):
    count: int | None = None
    period: str | None = None


class _Criteria(msgspec.Struct):
    warn_after: _Threshold | None = None
    error_after: _Threshold | None = None


class SourceFreshness(msgspec.Struct):
    """The freshness of one source, as ``sources.json`` has it.

    :param unique_id: of the source.
    :param status: ``pass``, ``warn``, ``error`` (it is stale) or ``runtime error`` (nothing is known of it).
    :param max_loaded_at: when its newest row was loaded, in ISO format.
    :param snapshotted_at: when dbt looked, in ISO format.
    :param age: the seconds between the two.
    :param criteria: the ages from which on dbt warns about the source, and calls it stale.
    """

    unique_id: str
    status: str = "runtime error"
    max_loaded_at: str | None = None
    snapshotted_at: str | None = None
    age: float = msgspec.field(default=0.0, name="max_loaded_at_time_ago_in_s")
    criteria: _Criteria | None = None


class _Sources(msgspec.Struct):
    results: list[SourceFreshness]


class _Node(msgspec.Struct):
    resource_type: str = ""
    raw_code: str | None = None

    @property
    def is_empty(self) -> bool:
        return self.raw_code is not None and not self.raw_code.strip()


class _Manifest(msgspec.Struct):
    nodes: dict[str, _Node]


_Shape = TypeVar("_Shape", _RunResults, _Sources, _Manifest)


# One part of a microbatch model, which dbt calls a batch: its begin, as short as dbt writes it (``2026-01-31``), and
# the message of dbt or the database. The message is empty where the batch was not run after another one had failed.
_MicrobatchPart = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """The files that one invocation has left. Files from before are ignored.

    :param target: dbt's target folder.
    :param log_file: dbt's log file, in JSON; None: there is none.
    :param log_begins_at: how many bytes of it were there before.
    :param before: the artifacts that were there before, as ``stamps_of`` gives them. Times are compared with each
        other, and never with this machine's clock, which differs from a file server's clock.
    :param are_kept: whether they stay when the workspace goes: the user has named another target folder.
    """

    target: Path
    log_file: Path | None = None
    log_begins_at: int = 0
    before: Stamps = field(default_factory=dict)
    are_kept: bool = False

    def text(self, name: str) -> str | None:
        """The content of an artifact; None when there is none, or it is no text.

        :param name: of the file, such as ``run_results.json``.
        """
        try:
            content = self.content(name)
            return None if content is None else content.decode()
        except (OSError, UnicodeDecodeError):
            return None

    def content(self, name: str) -> bytes | None:
        """The content of an artifact in bytes; None when there is none.

        :param name: of the file, such as ``run_results.json``.
        :raises OSError: when it is there and cannot be read.
        """
        path = self.target / name
        return read_file(path, ANY_SIZE) if self._is_new(path) else None

    def failures(self) -> list[str]:
        """The first failed nodes, each with dbt's message and the path of its compiled SQL."""
        results = self._decoded("run_results.json", _RunResults)
        failed = [each for each in results.results if each.status in FAILED_STATUSES] if results else []
        # dbt 2 gives all nodes this message where the project cannot be compiled, and dbt 1 gives none for the macro of
        # run-operation. The log has the reason.
        failed = [
            each
            for each in failed
            if each.message != output.NOTHING_RAN and (each.message or not each.unique_id.startswith("macro."))
        ]
        if not failed:
            return []
        compiled = self._compiled_files()
        shown = failed[:MOST_FAILURES]
        parts = self._failed_parts() if any(result.batch_results for result in shown) else {}
        texts = [
            f"{each.unique_id}: {each.status}: {_reason(each, compiled, parts.get(each.unique_id, []))}".rstrip(": ")
            for each in shown
        ]
        rest = len(failed) - MOST_FAILURES
        return [*texts, *([f"... and {rest} more nodes failed."] if rest > 0 else [])]

    def compiled(self, nodes: Iterable[str]) -> dict[str, Path]:
        """The files of compiled SQL that this run has written for nodes, by unique id.

        :param nodes: their unique ids.
        """
        files = self._compiled_files()
        return {each: file for each in nodes if (file := _compiled(each, files)) is not None}

    def _compiled_files(self) -> dict[tuple[str, str], Path]:
        """The files of compiled SQL, by package and name."""
        return {(path.relative_to(self.target).parts[1], path.stem): path for path in self.sql("compiled")}

    def _failed_parts(self) -> dict[str, list[_MicrobatchPart]]:
        """The failed parts of each microbatch model. Only the log file has the database's message for each part."""
        said: dict[tuple[str, str], str] = {}
        found: dict[str, list[_MicrobatchPart]] = {}
        for line in self._log_lines():
            if '"exc"' not in line and '"LogBatchResult"' not in line:
                continue
            event = node_event(line)
            if event is None:
                continue
            place = (event.thread, event.unique_id)
            if event.name != "LogBatchResult":
                said[place] = str(event.data.get("exc") or "").removeprefix(_OF_A_THREAD)
            elif (words := said.pop(place, "")) or event.data.get("status") in (*FAILED_STATUSES, "skipped"):
                name = _BATCH.match(str(event.data.get("description")))
                found.setdefault(event.unique_id, []).append((name.group(1) if name else "", words))
        return found

    def errors(self) -> list[str]:
        """The last messages of level error in the log file, each once."""
        logged = self._log_lines()
        found = [said for line in logged if '"error"' in line and (said := error_in(line))]
        return list(dict.fromkeys(found or output.logged_errors(logged)))[-MOST_ERRORS:]

    def _log_lines(self) -> list[str]:
        return self._logged().decode("utf-8", errors="replace").splitlines()

    def _logged(self) -> bytes:
        """The part of the log file that this run has written; dbt begins a new file where one has become too long."""
        if self.log_file is None:
            return b""
        try:
            with self.log_file.open("rb") as file:
                is_same = self.log_file.stat().st_size >= self.log_begins_at
                file.seek(self.log_begins_at if is_same else 0)
                return file.read()
        except OSError:
            return b""

    @property
    def are_none(self) -> bool:
        """Whether this run has left nothing, neither a line in its log nor a file."""
        return not self._logged() and not any(self._is_new(self.target / name) for name in _ALL)

    @property
    def show_nodes(self) -> bool:
        """Whether dbt has come to the end of its nodes, and has written their results."""
        return any(self._is_new(self.target / name) for name in ("run_results.json", "sources.json"))

    def outcomes(self) -> dict[str, NodeOutcome]:
        """The outcome of each node that ran, by unique id; empty where ``run_results.json`` was not written."""
        results = self._decoded("run_results.json", _RunResults)
        found = results.results if results else []
        return {each.unique_id: _outcome(each) for each in found if each.message != output.NOTHING_RAN}

    def sources(self) -> list[SourceFreshness]:
        """The freshness of each source that dbt has checked; empty where ``sources.json`` was not written."""
        found = self._decoded("sources.json", _Sources)
        return found.results if found else []

    def has_broken_sources(self, lines: Sequence[str]) -> bool:
        """Whether dbt could not determine the age of a source. No artifact of dbt 1.10 names such a source.

        :param lines: dbt's output. When it names no source, the log file counts, into which other runs may write too.
        """
        told = [line for line in lines if _OF_A_SOURCE in line] or self._log_lines()
        return any(_SOURCE_BROKEN.search(line) for line in told)

    def without_sql(self) -> frozenset[str]:
        """The models whose file has no SQL, by unique id: dbt leaves them out without a message."""
        manifest = self._decoded("manifest.json", _Manifest)
        nodes = manifest.nodes if manifest else {}
        return frozenset(each for each, node in nodes.items() if node.resource_type == "model" and node.is_empty)

    def warnings(self) -> list[tuple[str, str]]:
        """The name, as dbt's log has it, and the message of each node that warned; empty where no artifact says it."""
        results = self._decoded("run_results.json", _RunResults)
        warned = [(each.unique_id, _age(each)) for each in self.sources() if each.status == WARNED]
        if results and not warned:
            warned = [(each.unique_id, _said(each)) for each in results.results if each.status == WARNED]
        return [(_name(unique_id), message) for unique_id, message in warned]

    def compiled_sql(self) -> str:
        """The SQL that dbt has compiled and run, each file below a line with its path; empty when there is none.

        If there is too much SQL, the text has the first files, and a line with the number of the other files.
        """
        paths = self.sql()
        texts: list[str] = []
        left = _MOST_SQL
        for number, path in enumerate(paths):
            if left < 0:
                texts.append(f"-- and {len(paths) - number} more files")
                break
            # Other commands may write there too.
            with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="backslashreplace") as file:
                texts.append(f"-- {path.relative_to(self.target)}\n{file.read(_MOST_SQL).strip()}")
                left -= len(texts[-1])
        return "\n\n".join(texts)

    def freshness(self) -> str:
        """``sources.json``, indented; empty when there is none."""
        text = self.text("sources.json")
        if text is None:
            return ""
        try:
            return json.dumps(decoded(text, json.loads), indent=4)
        except ValueError:
            return text

    def sql(self, *folders: str) -> list[Path]:
        """The SQL files in these folders of the target folder, sorted.

        :param *folders: names; without any: ``compiled`` and ``run``.
        """
        return sorted(path for path in _sql_files(self.target, *folders) if path.is_file() and self._is_new(path))

    def _decoded(self, name: str, shape: type[_Shape]) -> _Shape | None:
        text = self.text(name)
        try:
            return None if text is None else decoded(text, msgspec.json.Decoder(shape).decode)
        except msgspec.DecodeError:
            return None  # of an unknown shape: dbt's output is used instead

    def _is_new(self, path: Path) -> bool:
        stamp = _stamp(path)
        return stamp is not None and stamp != self.before.get(path)


def stamps_of(target: Path) -> Stamps:
    """The artifacts that are in a target folder now.

    :param target: dbt's target folder, which need not be there.
    """
    # All files: the parse file that was offered to dbt is among them.
    paths = [*target.glob("*"), *_sql_files(target)]
    return {path: stamp for path in paths if (stamp := _stamp(path)) is not None}


def _sql_files(target: Path, *folders: str) -> list[Path]:
    found: list[Path] = []
    for folder in folders or ("compiled", "run"):
        with suppress(FileNotFoundError):
            found += (target / folder).rglob("*.sql")
    return found


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _outcome(result: _Result) -> NodeOutcome:
    rows = result.failures if result.failures is not None else result.adapter_response.get("rows_affected")
    return NodeOutcome(
        status=result.status.lower(),
        seconds=result.execution_time,
        rows=int(rows) if isinstance(rows, int | float) and rows >= 0 else None,
        message=without_colour(result.message or "").strip(),
    )


def may_lack_files(exit_code: int, artifacts: Artifacts, *, lines: Sequence[str]) -> bool:
    """Whether a run may have failed because files of dbt's own installation are gone.

    Such a run ends before it has written results of its nodes. Or it does nothing at all and gives no error: the
    program was truncated after its first line. SIGKILL does not count: it means that memory is short.

    :param exit_code: of dbt.
    :param artifacts: the artifacts that the run has left.
    :param lines: everything that dbt wrote.
    """
    if exit_code == 0:
        return not lines and artifacts.are_none
    return exit_code != -signal.SIGKILL and not artifacts.show_nodes


def failure_text(artifacts: Artifacts, *, lines: Sequence[str]) -> str:
    """Why dbt failed, in its own words: the nodes that failed, else the errors of its log, then its last lines.

    The text has each line once, and no colours: no terminal interprets the text of an exception.

    :param artifacts: the artifacts that the run has left.
    :param lines: everything that dbt wrote.
    """
    reasons = "\n".join(artifacts.failures() or artifacts.errors())
    spoken = (said for line in reversed(lines) if not is_unasked(line) and without_time(said := message(line)))
    spoken = (said for said in spoken if not output.is_stack(said))
    tail = [line for line in list(islice(spoken, TAIL_LINES))[::-1] if not reasons or not _is_said(line, reasons)]
    told = [*([reasons] if reasons else []), *(["dbt's last lines:", *tail] if tail else [])] or ["dbt wrote nothing."]
    # The output counts too, since the log file may be switched off.
    said = "\n".join([reasons, *(message(line) for line in lines if _NO_DRIVER in line)])
    advice = output.advice(said) or adapter_advice(lines)
    return without_colour("\n".join([*told, *([advice] if advice else [])]))


def adapter_advice(lines: Sequence[str]) -> str:
    """A sentence about the adapter that is not installed; empty where dbt found it.

    :param lines: what dbt wrote.
    """
    found = next((match for line in lines if (match := re.search(_NO_ADAPTER, line))), None)
    if found is None:
        return ""
    kind = found["type"]
    return (
        f"This dbt has no adapter for the type {kind!r} of the profile: add dbt-{kind.replace('_', '-')} to "
        "py_requirements, or, where dbt is not installed by them, install it beside this dbt."
    )


def _is_said(line: str, reasons: str) -> bool:
    """Whether a line repeats a reason, without the name of the node perhaps, or names the compiled file of a node."""
    return _COMPILED in line or without_time(output.without_code(line)) in reasons


def _name(unique_id: str) -> str:
    """A node's name as dbt's log has it: a source with its schema, anything else without the hash of a test."""
    kind, _, *rest = unique_id.split(".")
    return ".".join(rest) if kind == "source" else (rest or [unique_id])[0]


def _said(result: _Result) -> str:
    """The message of a node. For a test that found rows, dbt 2 has only one word, and the number of rows beside it."""
    if (result.message or "") in output.NO_REASON and result.failures:
        return f"Got {result.failures:g} result{'' if result.failures == 1 else 's'}"
    return result.message or ""


def _age(source: SourceFreshness) -> str:
    limit = source.criteria.warn_after if source.criteria else None
    return f"max_loaded_at {source.max_loaded_at}" + (f", warn_after {limit.count} {limit.period}" if limit else "")


def _compiled(unique_id: str, files: Mapping[tuple[str, str], Path]) -> Path | None:
    """The compiled file of a node. The file of a model's version is called ``name_v2`` or ``name.v2``."""
    _, package, name, *version = [*unique_id.split("."), "", ""][:4]
    names = [name, *(f"{name}{mark}{each}" for each in version if each for mark in ("_", "."))]
    return next((files[package, each] for each in reversed(names) if (package, each) in files), None)


def _reason(result: _Result, compiled: Mapping[tuple[str, str], Path], parts: Sequence[_MicrobatchPart]) -> str:
    message = _shortened(without_colour(_said(result)).replace("\r\n", "\n").strip())
    if result.batch_results is not None and _NO_MESSAGE.fullmatch(message):
        return _parts_text(result, result.batch_results, compiled, parts)
    return _with_path(message, _compiled(result.unique_id, compiled))


def _parts_text(
    result: _Result, told: _BatchResults, compiled: Mapping[tuple[str, str], Path], parts: Sequence[_MicrobatchPart]
) -> str:
    """Lines with the number of failed parts of a model, and with the messages of the first failed parts."""
    lines = [f"{len(told.failed)} of {len(told.failed) + len(told.successful)} batches failed"]
    _, package, name, *_ = [*result.unique_id.split("."), "", ""]
    for begin, said in parts[:MOST_BATCHES]:
        words = _shortened(without_colour(said).strip()) or "not run"
        lines += _with_path(f"batch {begin}: {words}", compiled.get((package, f"{name}_{begin}"))).splitlines()
    rest = len(parts) - MOST_BATCHES
    return "\n  ".join([*lines, *([f"... and {rest} more batches"] if rest > 0 else [])])


def _with_path(message: str, compiled: Path | None) -> str:
    if compiled is None or _COMPILED in message.lower():
        return message
    return f"{message}\n  {_COMPILED}{'/'.join(compiled.parts[compiled.parts.index('compiled') - 1 :])}"


def _shortened(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]} ..."
