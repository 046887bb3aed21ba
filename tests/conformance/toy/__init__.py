"""An implementation in an environment of its own, judged over lines of JSON."""
