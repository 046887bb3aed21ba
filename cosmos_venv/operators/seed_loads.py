"""Has every load of a seed that began on this machine ended well? One that has not may have left half a table.

A load is an empty file, locked while it lasts. The kernel unlocks it with its process, however that ends, and the file
stays. Where no file can be made, as in a folder that is not there any more, every load counts as one that ended well.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cosmos_venv.dbt.kept_files import make_private
from cosmos_venv.kernel_lock import is_locked_by_another, is_locked_or_lockless, open_to_ask, unlock
from cosmos_venv.operators.seed_turn import LAYOUT, own_turn

_DIGITS = 32


@dataclass(frozen=True, kw_only=True)
class SeedLoads:
    """All of one seed that have not ended well: those that last, and those that have broken off.

    :param key: of the seed's Variable.
    """

    cache_dir: Path
    key: str

    def broken_off(self) -> frozenset[Path]:
        """Those after which none has ended well."""
        return frozenset(path for path in self._files() if not _is_lasting(path))

    @contextmanager
    def own(self) -> Iterator[OwnLoad]:
        """The block is a load. It has broken off, unless it says in its end how it has ended."""
        with own_turn(self.cache_dir, self.key):
            load = OwnLoad(loads=self, before=self.broken_off(), file=self._locked_file())
        try:
            yield load
        finally:
            load.close()

    def others_last(self, own: Path | None) -> bool:
        return any(_is_lasting(path) for path in self._files() if path != own)

    def _locked_file(self) -> tuple[Path, int] | None:
        path = self._folder / f"{self._name}.{uuid.uuid4().hex}"
        try:
            make_private(self._folder)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:
            return None
        is_locked_or_lockless(descriptor)
        return path, descriptor

    def _files(self) -> list[Path]:
        return list(self._folder.glob(f"{self._name}.*"))

    @property
    def _folder(self) -> Path:
        return self.cache_dir / LAYOUT

    @property
    def _name(self) -> str:
        # Another Airflow of this user has Variables of its own.
        whose = f"{os.environ.get('AIRFLOW_HOME', '')}\0{self.key}"
        return hashlib.sha256(whose.encode(errors="surrogateescape")).hexdigest()[:_DIGITS]


@dataclass(kw_only=True)
class OwnLoad:
    """The load of this task.

    :param before: those that had broken off when it began, over which it has written.
    :param file: with its descriptor; None where none can be made, and once it is closed.
    """

    loads: SeedLoads
    before: frozenset[Path]
    file: tuple[Path, int] | None

    def is_undisturbed(self) -> bool:
        """Whether no other load has broken off since this one began."""
        own = {self.file[0]} if self.file else set()
        return not self.loads.broken_off() - self.before - own

    def end_well(self) -> None:
        """What broke off before it does not count any more. To be called in the seed's turn, as is ``break_off``."""
        self._remove({*self.before, *([self.file[0]] if self.file else [])})

    def break_off(self, *, is_forgotten: bool) -> None:
        """What it has left in the table is not known. Those that last now have to see that; others only

        :param is_forgotten: if this is False: older content is still taken for what the table holds.
        """
        if self.file and is_forgotten and not self.loads.others_last(self.file[0]):
            self._remove({self.file[0]})
        self.close()

    def close(self) -> None:
        if self.file is not None:
            unlock(self.file[1])
            os.close(self.file[1])
            self.file = None

    def _remove(self, files: set[Path]) -> None:
        for path in files:
            with suppress(OSError):
                path.unlink()


def _is_lasting(path: Path) -> bool:
    try:
        descriptor = open_to_ask(path)
    except FileNotFoundError:  # it has ended meanwhile
        return True
    except OSError:
        return False
    try:
        return is_locked_by_another(descriptor)
    finally:
        os.close(descriptor)
