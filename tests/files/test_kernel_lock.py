"""A lease is free right after it was given up, unless a guard has it too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cosmos_venv.files.kernel_lock import Lease, is_in_use, lease_path


@pytest.mark.parametrize("is_handed_on", [False, True])
def test_a_copy_of_the_descriptor_keeps_a_lease_only_where_it_was_handed_on(tmp_path: Path, is_handed_on: bool) -> None:
    """A process that was just started has copies of all descriptors until it runs its own program."""
    build = tmp_path / "build"
    lease = Lease.shared(build)
    assert lease is not None
    (own,) = [file.name for file in Path("/proc/self/fd").iterdir() if _leads_to(file, lease_path(build))]
    copy = os.dup(int(own))
    if is_handed_on:
        assert len(lease.hand_on()) == 1

    lease.close()
    in_use = is_in_use(build)
    os.close(copy)

    assert in_use is is_handed_on
    assert is_in_use(build) is False


def _leads_to(file: Path, path: Path) -> bool:
    try:
        return file.readlink() == path
    except OSError:
        return False
