"""All mutants, so that one import knows them: each module registers its own."""

from __future__ import annotations

from . import (  # noqa: F401
    api,
    cmd,
    cmd_surroundings,
    env,
    env_contents,
    env_failures,
    err,
    kill,
    load,
    lock,
    lock_owners,
    native,
    nodes,
    remote,
    render,
    runs,
    sec,
    seed,
    seed_changes,
    seed_memory,
    watch,
)
