"""The command line that the log of a task shows."""

from __future__ import annotations

import subprocess

import pytest

from cosmos_venv.dbt.command import shown_command, vars_text

RUN = "/tmp/cosmos-venv-run-9ee1b3c1e5041d4f"  # noqa: S108 - a name alone
ENVIRONMENT = f"/opt/environments/envs-v2/{'9ee1b3c1' * 8}-1/bin/dbt"


def test_names_made_of_digits_are_left_out() -> None:
    words = ["run", "--select", "fqn:shop.orders", "--project-dir", RUN, "--profiles-dir", RUN, "--profile", "shop"]

    assert shown_command([ENVIRONMENT, *words]) == "dbt run --select fqn:shop.orders --profile shop"


def test_a_program_and_folders_of_the_user_are_shown() -> None:
    words = ["run", "--project-dir", "/dbt/shop", "--select", "model with a blank"]

    assert shown_command(["/opt/dbt/bin/dbt", *words]) == (
        "/opt/dbt/bin/dbt run --project-dir /dbt/shop --select 'model with a blank'"
    )


@pytest.mark.parametrize(
    "variables",
    [{"day": "a\nb", "x": 1}, {"quote": "it's", "slash": "a\\nb", "return": "a\r\n"}],
    ids=["lines", "marks"],
)
def test_variables_are_one_line_that_a_shell_reads_as_they_are(variables: dict[str, object]) -> None:
    text = vars_text(variables)
    assert text is not None

    shown = shown_command(["printf", "%s", text])

    assert "\n" not in shown
    assert "\r" not in shown
    assert subprocess.run(["bash", "-c", shown], capture_output=True, check=True).stdout == text.encode()
