"""How do two processes speak that share nothing but a folder? Each word is a file, which appears in one step."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos_venv.exceptions import VirtualenvError

HOST, GUEST = "host", "guest"
LONGEST_ANSWER = 60.0  # an NFS client may believe for that long that a file is not there
_TURN = 0.02


class NobodyAnswers(VirtualenvError):
    """The other side has not said a word in time."""


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """One side of it.

    :param folder: on the mount; both sides can write there.
    :param me: ``host`` (who has made the folder) or ``guest``.
    :param patience: seconds that each word of the other side may take.
    """

    folder: Path
    me: str
    patience: float = LONGEST_ANSWER

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    def say(self, word: str, **facts: object) -> None:
        """Tell the other side, in one step: it never reads half of it."""
        apart = self.folder / f".{self.me}-{word}"
        apart.write_text(json.dumps(facts), encoding="utf-8")
        apart.replace(self.folder / f"{self.me}-{word}")

    def hear(self, word: str, *, patience: float | None = None) -> dict[str, Any]:
        """What the other side has said under that word.

        :raises NobodyAnswers: when it does not in time.
        """
        name = f"{GUEST if self.me == HOST else HOST}-{word}"
        longest = self.patience if patience is None else patience
        deadline = time.monotonic() + longest
        # Listing and not opening it: a client of NFS remembers longer that one file is not there.
        while name not in os.listdir(self.folder):  # noqa: PTH208
            if time.monotonic() > deadline:
                raise NobodyAnswers(f"The other side has not said {word!r} within {longest:.0f} s.")
            time.sleep(_TURN)
        said: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        return said
