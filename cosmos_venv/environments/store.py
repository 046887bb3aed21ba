"""Finding ready environments without a lock: in one ``virtualenv_dir``, and in the stores of a search path.

``envs-v1/<digest>`` is a link to ``builds/<digest>-<n>``; ``publisher`` makes both. The order in which one is found:
resolve the link, take a shared lease, look again whether link, build and lease are still the same, else start over. The
stores of a search path, such as one in an image, are never written to.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from cosmos_venv.environments.environment import Damaged, Environment
from cosmos_venv.environments.layout import StoreLayout
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.kernel_lock import NOBODY_LOCKS
from cosmos_venv.files.permissions import Way
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.lease import Lease, lease_path

LOOKED_FOR = "cosmos_venv.virtualenv_dir"
"""The audit event (PEP 578) before an environment is looked for: the directory, and the parameter that names it."""
_REMOVAL_IN_PROGRESS = 0.005
# Taking a build out of sight is a matter of milliseconds; a pruner that was stopped in the middle keeps nobody.
_LONGEST_REMOVAL = 5.0

PARAMETER = "virtualenv_search_path"


class EnvironmentStore(StoreLayout):
    """A directory of managed environments, in which ready ones are found without a lock."""

    def find(
        self,
        spec: EnvironmentSpec,
        *,
        instead_of: Damaged | None = None,
        cancellation: Cancellation | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> Environment | None:
        """Return the ready environment, leased to the caller, who closes it; None when there is none. No lock is taken.

        None too when it is being removed and that does not come to an end, and when others could have written to it: a
        caller who may build does so then.

        :param spec: what it must hold.
        :param instead_of: a build that counts as none; None: every build counts.
        :param cancellation: ends the search; None: nothing does.
        :param warn: gets a line when an environment is there and is not used; None: nobody does.
        :raises CosmosValueError: when ``virtualenv_dir`` is a file.
        :raises VirtualenvError: when it cannot be read, or somebody else can have written there, or, in a read-only
            store, to the environment.
        :raises CommandKilled: when ``cancellation`` was requested meanwhile.
        """
        # The pytest plugin watches this event, to know which directories a test has used.
        if not self.is_read_only:
            sys.audit(LOOKED_FOR, str(self._given), self.parameter)
        with self.naming_the_directory():
            way = self.judge()
        deadline = time.monotonic() + _LONGEST_REMOVAL
        while way is not None:
            if cancellation is not None:
                cancellation.raise_if_requested()
            # The link is read in each turn: while this task waits for a removal, another one may publish a newer build.
            build = self._whole_build(spec, way)
            if build is None or (instead_of is not None and build == instead_of.path):
                return None
            with suppress(BlockingIOError):
                lease = self._leased(build)
                # Between reading the link and locking the lease the build may have been removed or replaced.
                if lease is None or (self._whole_build(spec, way) == build and lease.is_of(build)):
                    if self.is_read_only:  # one of a search path counts as used only when an environment is found
                        sys.audit(LOOKED_FOR, str(self._given), self.parameter)
                    return self.environment_of(spec, build, lease=lease)
                lease.close()
            if time.monotonic() >= deadline:
                if warn is not None:
                    warn(f"{lease_path(build)} stays locked by a process that cannot be seen: {build} is built anew.")
                return None
            # Somebody holds the lease exclusively: the removal, which takes milliseconds, or a process that was stopped
            # in it.
            time.sleep(_REMOVAL_IN_PROGRESS)
        return None

    def environment_of(
        self, spec: EnvironmentSpec, build: Path, *, lease: Lease | None, was_built: bool = False
    ) -> Environment:
        """Return the environment that stands in a build's directory.

        :param spec: what it holds.
        :param build: the directory.
        :param lease: what keeps it from being removed; None where the mount knows no locks. It becomes the
            environment's.
        :param was_built: whether it was made for this caller.
        """
        return Environment(
            path=build,
            digest=spec.digest,
            record_file=self.record_file(build),
            was_built=was_built,
            lease=lease,
        )

    def _whole_build(self, spec: EnvironmentSpec, way: Way) -> Path | None:
        """Return the published build; None when it is gone, or the interpreter that it links to."""
        build = self.published(spec.digest, way)
        with self.naming_the_directory():
            # Asked of the file system and not of the record: a base Python that was uninstalled leaves the link
            # dangling.
            return build if build is not None and (build / "bin" / "python").exists() else None

    def _leased(self, build: Path) -> Lease | None:
        """Return a lease for the caller; None where nobody has any, or this user may not have one.

        :raises BlockingIOError: while somebody removes the build.
        """
        try:
            lease = Lease.shared(build, make=not self.is_read_only)
        except OSError as error:
            if not self.is_read_only and error.errno not in NOBODY_LOCKS:
                with self.naming_the_directory():
                    raise
            # Nobody prunes a mount that is read-only or knows no locks. A store of another user keeps its leases for
            # that user alone: what is used there is protected by the age at which its pruner begins.
            return None
        if lease is not None:
            return lease
        raise BlockingIOError


def stores_of(text: str) -> list[EnvironmentStore]:
    """Return the stores of a search path. A directory that does not exist is an empty store.

    :param text: absolute paths, parted as in ``PATH``.
    :raises CosmosValueError: naming ``virtualenv_search_path``, for a relative path.
    """
    paths = [Path(entry.strip()) for entry in text.split(os.pathsep) if entry.strip()]
    for path in paths:
        # The DAG processor, a worker and a shell have different working directories.
        if not path.is_absolute():
            raise CosmosValueError(
                f"[cosmos_venv] {PARAMETER}: {str(path)!r} is relative, and would be another directory for each "
                "process. Write the whole path."
            )
    return [EnvironmentStore(path, parameter=PARAMETER, is_read_only=True) for path in paths]


def find_first(
    stores: Iterable[EnvironmentStore],
    spec: EnvironmentSpec,
    *,
    instead_of: Damaged | None = None,
    cancellation: Cancellation | None = None,
) -> Environment | None:
    """Return the ready environment of the first store that has one; None when none has. The caller closes it.

    :param stores: in the order in which they are looked at. A lease is taken where the mount allows it.
    :param spec: what the environment must hold.
    :param instead_of: a build that counts as none; None: every build counts.
    :param cancellation: ends the search; None: nothing does.
    :raises VirtualenvError: when a store cannot be read, or somebody else can have written there.
    :raises CommandKilled: when ``cancellation`` was requested meanwhile.
    """
    found = (store.find(spec, instead_of=instead_of, cancellation=cancellation) for store in stores)
    return next((environment for environment in found if environment is not None), None)
