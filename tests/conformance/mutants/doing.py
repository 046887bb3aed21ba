"""Mutants whose fault lies in one public method of the operator."""

from __future__ import annotations

from typing import Any, ClassVar

from .mutant import Mutant, Original, around


class DoesOtherwise(Mutant):
    """One method of the operator does something beside what it should, or instead of it."""

    method: ClassVar[str] = "execute"

    def spoil(self, operator: Any) -> None:
        around(operator, self.method, self.do)

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        """Do what the method does.

        :param sound: what it should do.
        """
        raise NotImplementedError
