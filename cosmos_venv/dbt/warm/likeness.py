"""Are two parse files the same but for the folder in which the project stands? Told without keeping one of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Likeness:
    """What such files have in common.

    :param size: of the whole file.
    :param begin: where in it the folder is named for the first time.
    :param length: of that folder's path; 0 when it is not known, so that only the same bytes are alike.
    :param digest: of all but the folder.
    """

    size: int
    begin: int
    length: int
    digest: bytes

    @classmethod
    def of(cls, content: bytes, place: bytes = b"") -> Likeness:
        """Of a parse file whose project stands in ``place``."""
        begin = max(content.find(place), 0)
        return cls(len(content), begin, len(place), _digest(content, place))

    def is_of(self, content: bytes) -> bool:
        """Whether a parse file is like that one."""
        if len(content) != self.size:
            return False
        return _digest(content, content[self.begin : self.begin + self.length]) == self.digest


def _digest(content: bytes, place: bytes) -> bytes:
    return hashlib.sha256(content.replace(place, bytes(len(place))) if place else content).digest()
