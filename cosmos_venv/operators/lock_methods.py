"""How does a subclass take the lock of ``virtualenv_dir`` itself? By the methods that the seed document names.

Tasks need none of them: an environment is built under the lock by ``cosmos_venv.environments``, and dbt runs without.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cosmos_venv import settings
from cosmos_venv.compat import AirflowException
from cosmos_venv.environments.layout import LOCK_FILENAME
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError, VirtualenvLockTimeout
from cosmos_venv.managed import from_settings
from cosmos_venv.processes.guarded_process import Cancellation

if TYPE_CHECKING:
    from cosmos_venv.environments.lock import VirtualenvLock

__all__ = ["LOCK_FILENAME", "CosmosVirtualenvLockTimeout", "VirtualenvLockMethods", "depends_on_virtualenv_dir"]

_Result = TypeVar("_Result")


class CosmosVirtualenvLockTimeout(AirflowException):
    """Another process held the lock of ``virtualenv_dir`` for longer than this task may wait."""


def depends_on_virtualenv_dir(method: Callable[..., _Result]) -> Callable[..., _Result]:
    """A method that has no meaning without ``virtualenv_dir``.

    :raises CosmosValueError: from the method, where there is none.
    """

    @functools.wraps(method)
    def checked(operator: Any, *args: Any, **kwargs: Any) -> _Result:
        if operator.virtualenv_dir is None:
            raise CosmosValueError("Method relies on value of parameter `virtualenv_dir` which is None.")
        return method(operator, *args, **kwargs)

    return checked


class VirtualenvLockMethods:
    """The lock of an operator's ``virtualenv_dir``. Who has taken it may let the operator build in the same thread."""

    virtualenv_dir: str | None
    _cancellation: Cancellation | None
    _held_lock: ExitStack | None = None

    @property
    def max_retries_lock(self) -> int:
        """Seconds to wait for the lock, ``[cosmos] virtualenv_max_retries_lock``; Cosmos's name for it."""
        return settings.virtualenv_max_retries_lock

    if TYPE_CHECKING:
        log: Any  # Airflow has another type for it in each version

    @depends_on_virtualenv_dir
    def _is_lock_available(self) -> bool:
        """Whether nobody who must be respected holds the lock now. Changes nothing.

        :raises CosmosValueError: without ``virtualenv_dir``.
        """
        lock = self._virtualenv_lock()
        self.log.info("Checking if the virtualenv lock %s exists", lock.file)
        if self._held_lock is not None:
            self.log.info("This operator has the lock %s.", lock.file)
            return False
        return lock.is_available(report=self.log.info)

    @depends_on_virtualenv_dir
    def _acquire_venv_lock(self) -> None:
        """Take the lock, and wait for it no longer than ``[cosmos] virtualenv_max_retries_lock`` seconds.

        Until it is released, ``execute`` builds under it when it is called in the same thread.

        :raises CosmosValueError: without ``virtualenv_dir``, or when the operator holds it already.
        :raises CosmosVirtualenvLockTimeout: naming the owner, who keeps it.
        :raises AirflowException: when the directory cannot be used.
        """
        if self._held_lock is not None:
            raise CosmosValueError(f"This operator holds the lock of virtualenv_dir={self.virtualenv_dir!r} already.")
        held = ExitStack()
        try:
            held.enter_context(
                self._virtualenv_lock(make=True).acquire(
                    max_tries=settings.virtualenv_max_retries_lock,
                    cancellation=self._cancellation or Cancellation(),
                    report=self.log.info,
                )
            )
        except VirtualenvLockTimeout as error:
            raise CosmosVirtualenvLockTimeout(str(error)) from None
        except (VirtualenvError, OSError) as error:
            raise AirflowException(f"virtualenv_dir={self.virtualenv_dir!r} cannot be locked: {error}") from None
        self._held_lock = held

    @depends_on_virtualenv_dir
    def _release_venv_lock(self) -> None:
        """Release what ``_acquire_venv_lock`` took, and nothing else.

        :raises CosmosValueError: without ``virtualenv_dir``.
        """
        held, self._held_lock = self._held_lock, None
        if held is None:
            lock = self._virtualenv_lock()
            self.log.warning("The lock %s is not held by this operator. It is left alone.", lock.file)
            return
        held.close()

    def _virtualenv_lock(self, *, make: bool = False) -> VirtualenvLock:
        # Its imports are for whoever locks, not for every task.
        from cosmos_venv.environments.lock import VirtualenvLock
        from cosmos_venv.files.permissions import make_directory

        directory = Path(str(self.virtualenv_dir))
        if make:
            make_directory(directory, from_settings.directory_mode())
        return VirtualenvLock(directory)
