"""What `benchmarks.remote_pods` makes of what it has measured."""

from __future__ import annotations

from benchmarks.remote_environments import Series, Taken
from benchmarks.remote_pods import rows_of


def test_a_pod_is_judged_without_the_bare_download_of_its_round() -> None:
    series = Series()
    for factor in (1.0, 2.0, 4.0):
        series.add("pod", Taken(7.0 * factor, 6.0 * factor))
        series.add("ready", Taken(4.0 * factor, 4.0 * factor))
        series.add("bare", Taken(2.0 * factor, 0.5 * factor))

    wall, processor = rows_of(series)

    assert (wall.judged, processor.judged) == (1.25, 1.375)
    assert (wall.is_kept, processor.is_kept) == (True, False)
    assert wall.figures == "14.00 s; ready 8.00 s, bare 4.00 s (7.00; 4.00, 2.00 at best)"
