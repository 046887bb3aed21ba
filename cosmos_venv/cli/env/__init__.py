"""The command ``cosmos-venv env``: it builds, shares, shows, verifies and removes managed environments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.cli.env.lock import env_lock
from cosmos_venv.cli.env.prune import env_prune
from cosmos_venv.cli.env.push import env_push
from cosmos_venv.cli.env.show import env_list, env_show, env_verify
from cosmos_venv.cli.env.warm import env_fetch, env_warm
from cosmos_venv.cli.parsing import absolute_path, add_action, add_actions, existing_path, whole_number
from cosmos_venv.environments.requirement_files import is_lock_file

if TYPE_CHECKING:
    from cosmos_venv.cli.parsing import Actions

_NAME = "first characters of its digest, or DIGEST-SUFFIX"


def add_to(subjects: Actions) -> None:
    """Add ``cosmos-venv env`` and its actions.

    :param subjects: the sub-commands of ``cosmos-venv``.
    """
    actions = add_actions(subjects, "env", "managed environments")
    warm = add_action(actions, "warm", "build environments before tasks need them", env_warm)
    fetch = add_action(actions, "fetch", "fetch environments that another machine has built", env_fetch)
    for action, verb in ((warm, "build"), (fetch, "fetch")):
        _add_sources(action, verb)
    _add_lock(actions)
    _add_on_directory(actions)


def _add_sources(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument(
        "sources",
        nargs="*",
        type=existing_path,
        metavar="SOURCE",
        help="a DAG file, a folder of DAG files, a requirements file, or a dbt project with a requirements.txt",
    )
    parser.add_argument(
        "--dir",
        type=absolute_path,
        metavar="DIR",
        help=f"{verb} in this directory, not in virtualenv_dir: for example a directory of an image, for [cosmos_venv] "
        "virtualenv_search_path. It is needed if there is no DAG file",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show all output of the installer")
    given = parser.add_argument_group("Without a DAG file: the arguments of an operator")
    for option, metavar, name, text in (
        ("--requirement", "REQ", "py_requirements", "one of py_requirements; may be repeated"),
        ("--pip-option", "OPTION", "pip_install_options", "one of pip_install_options; may be repeated"),
        ("--adbc-driver", "DRIVER", "adbc_drivers", "one of adbc_drivers, for dbt 2; may be repeated"),
    ):
        given.add_argument(option, action="append", dest=name, metavar=metavar, help=text)
    given.add_argument(
        "--python", dest="py_executable", metavar="PYTHON", help="py_executable: the Python of the environment"
    )
    given.add_argument(
        "--system-site-packages",
        dest="py_system_site_packages",
        action="store_true",
        help="py_system_site_packages: the environment sees the packages of that Python",
    )


def _add_lock(actions: Actions) -> None:
    lock = add_action(actions, "lock", "write lock files of what DAG files need", env_lock)
    lock.add_argument(
        "sources", nargs="+", type=_dag_source, metavar="DAGFILE", help="a DAG file, or a folder of DAG files"
    )
    lock.add_argument(
        "--output",
        type=_lock_output,
        metavar="FILE",
        help="write this file: pylock.toml, pylock.NAME.toml, or a FILE.txt of requirements with hashes. Only where "
        "there is one environment",
    )
    lock.add_argument(
        "--universal",
        action="store_true",
        help="resolve for all platforms and for later Pythons too; otherwise the lock file is for this platform and "
        "the minor release of the Python of its environment",
    )


def _dag_source(text: str) -> Path:
    """Return the path of a DAG file or folder that is there."""
    path = existing_path(text)
    if not path.is_dir() and path.suffix != ".py":
        raise argparse.ArgumentTypeError(f"{text!r} is no DAG file")
    return path


def _lock_output(text: str) -> Path:
    """Return the absolute path of a file that may be written."""
    path = absolute_path(text)
    if not is_lock_file(path) and path.suffix != ".txt":
        raise argparse.ArgumentTypeError(f"{text!r} is neither pylock.toml, nor pylock.NAME.toml, nor FILE.txt")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no directory {path.parent}")
    return path


def _add_on_directory(actions: Actions) -> None:
    push = add_action(actions, "push", "put environments into the remote store", env_push)
    listing = add_action(actions, "list", "list the environments of a directory", env_list)
    show = add_action(actions, "show", "show everything that is known of an environment", env_show)
    verify = add_action(actions, "verify", "check that environments are complete", env_verify)
    what = "remove environments that are beyond the limits of a directory"
    prune = add_action(actions, "prune", what, env_prune)
    for action in (push, listing, show, verify, prune):
        action.add_argument("directory", type=Path, metavar="DIR", help="a virtualenv_dir")
    for action in (push, verify):
        action.add_argument("name", metavar="NAME", nargs="?", help=f"only this one: {_NAME}")
    show.add_argument("name", metavar="NAME", help=_NAME)
    verify.add_argument("--no-import", action="store_true", help="do not run anything that is installed")
    verify.add_argument(
        "--content",
        action="store_true",
        help="read every file, and compare it with the hash that its installer has recorded; takes a second for 150 MB",
    )
    prune.add_argument("--dry-run", action="store_true", help="only show what would be removed")
    prune.add_argument("--digest", metavar="NAME", help=f"remove this environment, whatever its age: {_NAME}")
    for option, metavar, text in (
        ("--max-age-days", "DAYS", "remove environments that were not used for this number of days"),
        ("--max-count", "N", "number of environments to keep"),
        ("--max-bytes", "BYTES", "bytes on disk to keep"),
        ("--min-age", "SECONDS", "keep every environment that was used within this number of seconds"),
    ):
        prune.add_argument(option, type=whole_number, metavar=metavar, help=text)
