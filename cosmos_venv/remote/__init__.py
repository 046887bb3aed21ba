"""What does a file hold that lies elsewhere, and has it changed? On a web server, or in an object store of Airflow's.

What is slow to import is imported where it is used.
"""

from __future__ import annotations

from cosmos_venv.remote.copies import Copy, RemoteError
from cosmos_venv.remote.place import RemoteFile, shown, url_of

__all__ = ["Copy", "RemoteError", "RemoteFile", "shown", "url_of"]
