"""The public names of the first release, which are still there, and the words of which users are told otherwise."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.whole.first_release import TwoReleases
from tests.whole.public_names_child import public_names


@pytest.mark.long
def test_every_public_name_of_the_first_release_is_there(two_releases: TwoReleases) -> None:
    """Names, parameters, values, template fields, settings with their defaults, commands and their options."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.whole.public_names_child"],
        env=two_releases.old.environment,
        cwd=two_releases.old.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    names = set(json.loads(done.stdout.rpartition("RESULT")[2]))

    assert len(names) > 3_000
    assert sorted(names - set(public_names())) == []
