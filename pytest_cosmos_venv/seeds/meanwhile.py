"""How does something happen while dbt is loading a seed? The look-alike waits in the middle of it until it is done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_cosmos_venv.environments.scripted_dbt import ScriptedDbt

_LOOK_AGAIN = 0.01


class Meanwhile:
    """Waits beside a run until a call of ``dbt seed`` is held, acts once, and lets the call go on."""

    def __init__(self, dbt: ScriptedDbt, act: Callable[[], object]) -> None:
        self.has_acted = False
        self._dbt = dbt
        self._act = act
        self._error: BaseException | None = None
        self._is_over = threading.Event()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Wait for the length of the block; what ``act`` raised comes out at its end."""
        before = len(self._dbt.calls)
        held = self._dbt.script("seed", hold=True)
        watch = threading.Thread(target=self._watch, args=(before, held.release), daemon=True)
        watch.start()
        try:
            yield
        finally:
            self._is_over.set()
            held.release()
            watch.join()
            held.take_back()
        if self._error is not None:
            raise self._error

    def _watch(self, before: int, release: Callable[[], None]) -> None:
        while not self._is_over.wait(_LOOK_AGAIN):
            if any(call.held_at is not None for call in self._dbt.calls[before:]):
                break
        else:
            return
        try:
            self._act()
            self.has_acted = True
        except BaseException as error:  # noqa: BLE001 - raised again where the test can see it
            self._error = error
        finally:
            release()
