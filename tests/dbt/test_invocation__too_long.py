"""Words and variables that no process can be started with: the error names them, whether dbt starts warm or not."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from cosmos_venv.dbt.invocation import run_dbt
from cosmos_venv.exceptions import CosmosValueError

ONE = 131_072


def started(command: list[str], env: dict[str, str]) -> int:
    return run_dbt(command, env=env, cwd=Path("/")).exit_code


@pytest.mark.parametrize(
    ("command", "env", "message"),
    [
        pytest.param(
            ["/bin/true"],
            {"TOKEN": "s" * 200_000},
            r"Linux takes 131,072 bytes for one word or variable .* \(the longest, TOKEN: 200,007\)",
            id="variable",
        ),
        pytest.param(
            ["/bin/true", "run", "--vars", "é" * 70_000],
            {},
            r"^dbt cannot be started: Linux takes 131,072 bytes for one .* \(the longest, of --vars: 140,001\)",
            id="word",
        ),
        pytest.param(
            ["/bin/true", "test", "--select", *["m" * 90] * 200_000],
            {"A": "b"},
            r"The command has 200,003 words of 18,200,024 bytes .*, and 1 environment variables of 4 bytes",
            id="all-words",
        ),
    ],
)
def test_what_is_too_long_is_named(command: list[str], env: dict[str, str], message: str) -> None:
    with pytest.raises(CosmosValueError, match=message) as refused:
        started(command, env)

    assert "ssss" not in str(refused.value)


def test_what_linux_takes_is_started() -> None:
    """The limits are those of Linux and no closer than some pages."""
    most = min(resource.getrlimit(resource.RLIMIT_STACK)[0] // 4, 6 << 20)
    words = ["w" * 1000] * ((most - 16_384) // 1009)

    assert started(["/bin/true", "v" * (ONE - 1)], {"A": "b" * (ONE - 3)}) == 0
    assert started(["/bin/true", *words], {}) == 0
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run(["/bin/true", *words, *["w" * 1000] * 30], env={}, check=False)
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run(["/bin/true", "v" * ONE], env={}, check=False)


def test_the_limit_of_the_stack_counts() -> None:
    source = (
        "import resource; resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, resource.RLIM_INFINITY))\n"
        "from tests.dbt.test_invocation__too_long import started\n"
        "started(['/bin/true', *['w' * 1000] * 300], {})"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )

    assert "The command has 301 words" in done.stderr
    assert "and 262,144 for all" in done.stderr
