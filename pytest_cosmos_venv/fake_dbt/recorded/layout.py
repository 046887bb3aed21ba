"""The files of a recording, and the words that stand in them for what differs between machines."""

from __future__ import annotations

FORMAT = 1
"""The number of the format. A reader refuses any other."""
INDEX = "recording.json"
"""Format, and the list of the commands in the order in which they began."""
STDOUT = "stdout.txt"
STDERR = "stderr.txt"
EVENTS = "events.jsonl"
"""The JSON log of a command, one event a line."""
TIMES = "times.json"
"""The instant of each line of output: ``[stream, seconds since the command began]``, ``1`` is stdout, ``2`` stderr."""
ARTIFACTS_FOLDER = "artifacts"
RESULTS = "run_results.json"
MANIFEST = "manifest.json"
ARTIFACTS = (RESULTS, MANIFEST, "sources.json", "catalog.json")
"""The artifacts that are kept, where the command wrote them."""

PROJECT = "<project>"
PROFILES = "<profiles>"
ENVIRONMENT = "<environment>"
TARGET = "<target>"
LOGS = "<logs>"
HOME = "<home>"
FOLDER = "<cwd>"


def digest(text: str) -> str:
    """Return a short word for a text: two that are equal have the same.

    It tells whether somebody has edited a file since dbt wrote it, and is no protection.

    :param text: the text.
    """
    import zlib

    return f"{zlib.crc32(text.encode()):08x}-{len(text)}"
