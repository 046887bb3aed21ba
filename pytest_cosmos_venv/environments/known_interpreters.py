"""How does uv learn of an interpreter once, and not in each test's own cache? By what other caches have found out."""

from __future__ import annotations

from pathlib import Path

_FILES = "interpreter-*/*/*.msgpack"


class KnownInterpreters:
    """What uv has found out of interpreters. It costs uv more than making an environment.

    By uv's own layout of its cache: where that is another, nothing is known, and uv asks again. What two tests have
    found out is kept, as the environments of one are gone with it.
    """

    def __init__(self) -> None:
        self._seen: set[Path] = set()
        self._kept: dict[Path, bytes] = {}

    def tell(self, cache: Path) -> None:
        """Put what is known into a cache.

        :param cache: as ``UV_CACHE_DIR`` names it.
        """
        for name, content in self._kept.items():
            (cache / name).parent.mkdir(parents=True, exist_ok=True)
            (cache / name).write_bytes(content)

    def learn(self, cache: Path) -> None:
        """Take from a cache what another has had too."""
        for file in cache.glob(_FILES):
            name = file.relative_to(cache)
            if name in self._seen:
                self._kept[name] = file.read_bytes()
            self._seen.add(name)
