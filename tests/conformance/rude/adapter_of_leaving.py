"""An adapter of a package whose import ends the process; it imports that itself."""

from . import leaving
from .adapters import OfLeaving

__all__ = ["OfLeaving", "leaving"]
