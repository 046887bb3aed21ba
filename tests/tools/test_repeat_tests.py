"""Each file of long tests runs five times, and 20 times where it starts an Airflow or was once red by chance."""

from __future__ import annotations

from tools.repeat_tests import SUSPECTED, Repetition, files, left, times


def test_the_file_with_the_smallest_part_of_its_runs_is_next() -> None:
    often, seldom = "tests/environments/test_lock__explored.py", "tests/clouds/test_uploads.py"
    assert (times(often), times(seldom)) == (20, 5)

    assert left([*runs(often, 3), *runs(seldom, 1)], [often, seldom]) == [often, seldom]
    assert left([*runs(often, 5), *runs(seldom, 1)], [often, seldom]) == [seldom, often]
    assert left([*runs(often, 20), *runs(seldom, 5)], [often, seldom]) == []


def test_each_suspected_path_is_of_a_file_with_long_tests() -> None:
    listed = files()

    assert [each for each in SUSPECTED if not any(file.startswith(each) for file in listed)] == []


def runs(file: str, number: int) -> list[Repetition]:
    return [Repetition(file=file, commit="f57a4f0f", day="2026-11-28", seconds=9, load=3.0, failures=())] * number
