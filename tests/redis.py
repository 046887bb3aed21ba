"""A real Redis, which the tests start and stop, on a Unix socket in a folder of the test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import wait_until

DEADLINE = 60.0


@contextmanager
def started_redis(programs: Path, folder: Path) -> Iterator[str]:
    """Start an empty Redis without persistence, and yield its address for Celery.

    :param programs: the folder of ``redis-server``.
    :param folder: the folder for its socket and its log. The path must be short, as the path of a socket is limited.
    """
    address = folder / "redis.sock"
    options = {"port": "0", "unixsocket": str(address), "unixsocketperm": "700", "save": "", "dir": str(folder)}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    with (
        (folder / "redis.log").open("w") as said,
        subprocess.Popen(
            [programs / "redis-server", *words], stdin=subprocess.DEVNULL, stdout=said, start_new_session=True
        ) as server,
    ):
        try:
            wait_until(lambda: address.exists() or server.poll() is not None, f"Redis has not made {address}")
            assert server.poll() is None, f"Redis has not started:\n{(folder / 'redis.log').read_text()}"
            yield f"redis+socket://{address}?virtual_host=0"
        finally:
            server.terminate()
