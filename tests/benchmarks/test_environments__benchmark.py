"""The table of a measurement tells promises from figures that nothing is promised of."""

from __future__ import annotations

import math

from benchmarks.environments import Row, table


def test_a_figure_without_a_bound_has_no_verdict() -> None:
    promised = Row(what="task", figures="2 s", judged=0.5, bound=1.0)
    broken = Row(what="task", figures="2 s", judged=1.5, bound=1.0)
    shown = Row(what="parse", figures="4 s", judged=0.5, bound=math.inf)

    assert table([promised, broken, shown]).splitlines()[2:] == [
        "| task | 2 s | 0.500 x | 1.000 | kept |",
        "| task | 2 s | 1.500 x | 1.000 | NOT KEPT |",
        "| parse | 4 s | 0.500 x | - | |",
    ]
