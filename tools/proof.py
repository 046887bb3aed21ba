"""The table of a proof: a line for each thing that it has tried again and again, and all faults."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Tally:
    """The result of one proof."""

    what: str
    rounds: int = 0
    faults: list[str] = field(default_factory=list)
    notes: str = ""

    def __str__(self) -> str:
        return f"{self.what:<48} {self.rounds:>6} {len(self.faults):>7}  {self.notes}"


def prove(proofs: Iterable[tuple[Callable[[Path, int], Tally], int]], folder: Path) -> int:
    """Print the table while it is made, then each fault. Returns the exit code: 1 when a single round went wrong.

    :param proofs: each with how many rounds; none: it is left out.
    :param folder: in which each makes what it needs.
    """
    print(f"{'':<48} {'rounds':>6} {'faults':>7}")
    faults: list[str] = []
    for proof, count in proofs:
        if count:
            tally = proof(folder, count)
            print(tally, flush=True)
            faults += tally.faults
    print("\n".join(faults))
    return 1 if faults else 0
