"""A platform on which nothing can work is refused in a sentence, at import."""

from __future__ import annotations

import subprocess
import sys

import pytest

ON_ANOTHER_PLATFORM = """
import sys
sys.platform = {platform!r}
sys.modules["fcntl"] = None
import cosmos_venv
"""


@pytest.mark.parametrize("platform", ["win32", "cygwin"])
def test_windows_is_refused_with_what_to_do(platform: str) -> None:
    source = ON_ANOTHER_PLATFORM.format(platform=platform)

    done = subprocess.run([sys.executable, "-c", source], stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: cosmos-venv runs on Linux")
    assert f"POSIX, which {platform} has not. Run it in WSL 2 or in a container" in last
