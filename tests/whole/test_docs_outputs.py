"""What a page shows behind ``$`` is what the command prints.

Numbers, times, digests and paths are another machine's; all other words of a shown line are those of a real line.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cosmos_venv.cli import main
from pytest_cosmos_venv import CosmosAirflow, CosmosDbt, CosmosProject
from tests.command_line import harbor_source
from tests.whole.page_blocks import PAGES, blocks_of
from tests.whole.page_outputs import masked, shown

Printed = Callable[[Sequence[str]], list[str]]
REQUIREMENTS = ("dbt-core~=1.11.0", "dbt-duckdb")
# A test of this command compares it, where there is a running server.
ELSEWHERE = ("server status",)


EXAMPLES = [
    pytest.param(words, lines, id=str(block))
    for page in PAGES
    for block in blocks_of(page)
    if block.language == "console"
    for words, lines in shown(block)
    if words[0] == "cosmos-venv" and not shlex.join(words[1:]).startswith(ELSEWHERE)
]


@pytest.fixture
def printed(
    tmp_path: Path,
    cosmos_dbt: CosmosDbt,
    cosmos_project: CosmosProject,
    cosmos_airflow: CosmosAirflow,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Printed:
    """Run ``cosmos-venv`` where the DAG of the pages is, and its environment is ready; return what it prints."""
    cosmos_dbt.add_dbt("1.11.0")
    cosmos_dbt.add_adapter("duckdb", "1.11.0")
    project = cosmos_project("harbor")
    project.model("ships", "select 1 as id")
    directory = tmp_path / "dbt-environments"
    (tmp_path / "dags").mkdir()
    source = harbor_source(project.path, directory, cosmos_dbt, REQUIREMENTS)
    (tmp_path / "dags" / "harbor.py").write_text(source, encoding="utf-8")
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DTB", "auto")  # doctor finds it
    monkeypatch.chdir(tmp_path)

    def run(words: Sequence[str]) -> list[str]:
        here = [
            str(directory) if word.endswith("/dbt-environments") and word.startswith("/") else word for word in words
        ]
        here = ["dags/harbor.py" if word == "dags/*.py" else word for word in here]
        capfd.readouterr()
        main(here)
        said = capfd.readouterr()
        return (said.out + said.err).splitlines()

    assert main(["env", "warm", "dags/harbor.py"]) == 0
    return run


@pytest.mark.long
@pytest.mark.parametrize(("words", "lines"), EXAMPLES)
def test_the_output_on_a_page_is_what_the_command_prints(words: list[str], lines: list[str], printed: Printed) -> None:
    real = printed(words[1:])

    assert lines
    assert [line for line in map(masked, lines) if line not in [*map(masked, real)]] == [], "\n".join(real)
