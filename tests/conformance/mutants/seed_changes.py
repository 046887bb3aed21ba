"""Faults in what counts as a change of a seed, and in what a task does about it."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from .inside import instead_of, part
from .mutant import Mutant, Original
from .seeding import DecidesOtherwise, ReadsOtherwise, Turn


class TakesTheUnknownForUnchanged(DecidesOtherwise):
    """Runs dbt when the checksum is another than the remembered one, and None is none."""

    kills = "SEED-004"

    def load(self, turn: Turn) -> Any:
        is_first = part("compat").variable(turn.scope.key) is None
        return turn.skip() if is_first and not turn.is_full_refresh else turn.do()


class LoadsWhatWasTouched(DecidesOtherwise):
    """Loads a file that has another time than the one it has loaded, as make does it."""

    kills = "SEED-005"
    _times: dict[Path, int]

    def begin(self) -> None:
        super().begin()
        self._times = {}

    def load(self, turn: Turn) -> Any:
        with suppress(OSError):
            now = turn.file.stat().st_mtime_ns
            if self._times.setdefault(turn.file, now) != now:
                return turn.run()
        return turn.do()


class LooksAtSizeAndTime(ReadsOtherwise):
    """Reads a file again only when its size or its time is another, as Git does it."""

    kills = "SEED-006"
    _known: dict[tuple[Path, int, int], Any]

    def begin(self) -> None:
        super().begin()
        self._known = {}

    def read(self, sound: Original, path: Path) -> Any:
        status = path.stat()
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in self._known:
            self._known[key] = sound(path)
        return self._known[key]


class StoresTheChecksumWhateverComesOfDbt(DecidesOtherwise):
    """Stores the checksum and then looks at how dbt has ended."""

    kills = "SEED-007"

    def load(self, turn: Turn) -> Any:
        errors: list[Exception] = []

        def run() -> Any:
            try:
                return turn.run()
            except Exception as error:  # noqa: BLE001 - raised again below
                errors.append(error)
                return turn.skip()

        result = turn.do(run)
        if errors:
            raise errors[0]
        return result


class TakesAMissingFileForAnEmptyOne(ReadsOtherwise):
    """Hashes nothing where there is no file, and remembers that."""

    kills = "SEED-013"

    def read(self, sound: Original, path: Path) -> Any:
        if path.is_file():
            return sound(path)
        nothing = path.with_name(".nothing")
        nothing.touch()
        return sound(nothing)


class SkipsAFullRefreshOfTheSame(DecidesOtherwise):
    """Looks at the file first, and at full_refresh when dbt is about to run."""

    kills = "SEED-017"

    def load(self, turn: Turn) -> Any:
        return turn.skip() if turn.is_full_refresh and turn.is_known else turn.do()


class RemembersAFullRefresh(DecidesOtherwise):
    """Remembers what was loaded, by whichever kind of run."""

    kills = "SEED-018"

    def load(self, turn: Turn) -> Any:
        result = turn.do()
        if turn.is_full_refresh:
            turn.remember()
        return result


class TellsOfTheSeedAsAnOutlet(Mutant):
    """Gives the task its asset as an outlet, which Airflow updates whenever the task succeeds."""

    kills = "SEED-019"

    def begin(self) -> None:
        instead_of("", "DbtDag", self._build)

    def _build(self, sound: Any, **given: Any) -> Any:
        dag = sound(**given)
        for task in dag.tasks:
            part("compat").add_outlets(task, [part("compat").asset("duckdb://harbor/piers")])
        return dag


class TellsNobodyOfASeed(Mutant):
    """Tells Airflow of models, and forgets that seeds are tables too."""

    kills = "SEED-020"

    def begin(self) -> None:
        instead_of("", "DbtDag", self._build)

    def _build(self, sound: Any, **given: Any) -> Any:
        dag = sound(**given)
        for task in dag.tasks:
            task.emit_datasets = False
        return dag


class AsksTheManifestFirst(DecidesOtherwise):
    """Loads a seed of which the manifest knows no checksum: it cannot be compared."""

    kills = "SEED-024"

    def load(self, turn: Turn) -> Any:
        manifest = turn.file.parents[2] / "manifest.json"
        nodes = json.loads(manifest.read_text(encoding="utf-8"))["nodes"] if manifest.exists() else {}
        node = nodes.get(turn.context["dbt_node_config"]["unique_id"])
        return turn.run() if node and not node["checksum"]["checksum"] else turn.do()


class ReadsAFileAtOnce(ReadsOtherwise):
    """Hashes what read_bytes gives."""

    kills = "SEED-025"

    def read(self, sound: Original, path: Path) -> Any:
        return hashlib.sha256(path.read_bytes()).hexdigest()


class HashesWhenDbtIsDone(DecidesOtherwise):
    """Computes the checksum that it stores when dbt has succeeded."""

    kills = "SEED-026"

    def load(self, turn: Turn) -> Any:
        ran: list[Any] = []

        def run() -> Any:
            ran.append(turn.run())
            return ran[-1]

        result = turn.do(run)
        if ran and not turn.is_full_refresh:
            turn.remember()
        return result


class HashesTextAndNotBytes(ReadsOtherwise):
    """Opens the CSV as text, in which lines end with one character and a byte order mark is none."""

    kills = "SEED-030"

    def read(self, sound: Original, path: Path) -> Any:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(2**20):
                digest.update(piece.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n"))
        return digest.hexdigest()


class HashesWhenTheDagIsParsed(ReadsOtherwise):
    """Hands the checksum from the parsing of the DAG to its task."""

    kills = "SEED-032"
    _parsed: dict[str, Any]

    def begin(self) -> None:
        super().begin()
        instead_of("", "ProjectConfig", self._parse)

    def _parse(self, sound: Any, path: Path, **given: Any) -> Any:
        self._parsed = {}
        for file in Path(path).rglob("*.csv"):
            with suppress(OSError):
                self._parsed[str(file)] = part("files.read_limits").sha256_of_file(file)
        return sound(path, **given)

    def read(self, sound: Original, path: Path) -> Any:
        return self._parsed.get(str(path)) or sound(path)


class LoadsEachTimeInVirtualenvMode(DecidesOtherwise):
    """Has no memory in virtualenv mode: its tasks are slow in any case."""

    kills = "SEED-005"

    def load(self, turn: Turn) -> Any:
        return turn.run() if turn.is_in_virtualenv_mode else turn.do()
