"""File systems that cannot hold environments: told before anything is built, with what to use instead."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from tests.environments.elsewhere import USE, tmpfs, uses_of, within
from tests.environments.forbidden_calls import without
from tests.kit import MakeSpec, StartPython, as_words

LEFT_BY_THE_LOCK = ["cosmos_virtualenv.flock"]


@pytest.mark.parametrize(
    ("call", "answer", "fault"),
    [
        pytest.param("link", errno.ENOSYS, "hard links", id="gcsfuse-has-no-hard-links"),
        pytest.param("flock", errno.ENOSYS, "kernel locks (flock)", id="no-flock"),
    ],
)
def test_a_mount_that_lacks_what_an_environment_needs_is_refused_before_anything_is_installed(
    tmp_path: Path, make_spec: MakeSpec, start_python: StartPython, call: str, answer: int, fault: str
) -> None:
    process = start_python(USE, tmp_path, "uv", as_words(make_spec()), within=without(call, answer))

    (used,) = uses_of(process)

    message = f"virtualenv_dir {tmp_path}: its file system does not support {fault} ({os.strerror(answer)}). Use a "
    assert used.error.startswith(f"VirtualenvError: {message}directory on a local disk or on a network file system")
    assert "a mounted object store (S3, GCS, Azure Blob) is none" in used.error
    assert [line for line in used.lines if "Creating" in line] == []
    assert used.left == LEFT_BY_THE_LOCK


TEMPORARY = """
import json, os, sys, tempfile, pickle
from pathlib import Path
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.builder import temporary_environment
from cosmos_venv.exceptions import VirtualenvError
from cosmos_venv.processes.cancellation import Cancellation

lines = []
spec = pickle.loads(bytes.fromhex(sys.argv[1]))
try:
    with temporary_environment(spec, preference="uv", cancellation=Cancellation(), report=lines.append):
        print("READY")
except VirtualenvError as error:
    print(error)
print("LEFT", os.listdir(tempfile.gettempdir()), "SAID", len(lines))
"""


@pytest.mark.parametrize(
    ("options", "words", "last"),
    [
        pytest.param(
            "noexec",
            r"^TMPDIR {place}/cosmos-venv\w+: its file system is mounted noexec: no program in it can be started\.",
            "LEFT [] SAID 0",
            id="without-programs",
        ),
        # The number of files is the limit: few fit in, whatever their size.
        pytest.param(
            "nr_inodes=12",
            r"The disk is full\. Free now: \d+\.\d MB in {place}/cosmos-venv\w+, ",
            "LEFT [] SAID ",
            id="full",
        ),
    ],
)
def test_a_temporary_directory_that_cannot_be_used_is_told_and_left_empty(
    tmp_path: Path, make_spec: MakeSpec, start_python: StartPython, options: str, words: str, last: str
) -> None:
    place = within(setup=tmpfs(tmp_path, options), variables=[f"TMPDIR={tmp_path}"])

    output = start_python(TEMPORARY, as_words(make_spec()), within=place).communicate()[0]

    assert re.search(words.format(place=tmp_path), output)
    assert output.splitlines()[-1].startswith(last)
