"""The command ``cosmos-venv env export``: it writes ready environments of a ``virtualenv_dir`` as an image."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal

from cosmos_venv.cli.env.push import ready_builds, refuse_unfit
from cosmos_venv.cli.env.show import title, why_not_portable
from cosmos_venv.cli.output import OK, WRONG, Steps, print_json, print_lines, steps, tell
from cosmos_venv.environments.maintenance.inventory import StoredBuild, kept
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError

if TYPE_CHECKING:
    from cosmos_venv.environments.archive.image import Image, MovedEnvironment


def env_export(directory: Path, name: str | None, *, target: Path, at: str, as_json: bool) -> int:
    """Write environments as an image layout.

    :param directory: a ``virtualenv_dir``.
    :param name: only these, as for ``env_show``; None: all that are ready.
    :param target: a new directory, or a file ``….tar``.
    :param at: the path at which the image will be mounted.
    :param as_json: whether stdout gets JSON in place of lines to read.
    :returns: the exit code, 1 when an environment cannot be exported: then nothing is written.
    :raises VirtualenvError: when the directory cannot be read, or others can have written there.
    :raises CosmosValueError: when it is none, nothing there is ready, or the target or the path cannot be.
    :raises OSError: when the image cannot be written.
    """
    from cosmos_venv.environments.archive.image import ARCHIVE_SUFFIX, count_files, write_image

    place = _place(at)
    if os.path.lexists(target) and target.suffix != ARCHIVE_SUFFIX:
        raise CosmosValueError(f"--oci: {target} exists. Give a new directory, or a file that ends with .tar.")
    builds = ready_builds(directory, name)
    image: Image | None = None
    with steps("reading", as_json=as_json, counts_later=True) as step, ExitStack() as held:
        moved, failures = _moved(builds, place, step, held)
        if not failures:
            step.begin(f"writing {target}")
            step.expect(count_files(moved))
            image = write_image(target, moved, on_file=step.end)
    for failure in failures:
        tell(failure)
    if as_json:
        data = {"virtualenv_dir": str(directory), "image": str(target) if image else None, "at": str(place)}
        print_json({**data, **_as_data(image, moved), "failures": failures})
    elif image is not None:
        print_lines(_lines(target, image, place, builds))
    return OK if image is not None else WRONG


def _place(at: str) -> Path:
    if not at.startswith("/") or os.path.normpath(at) != at or set(at) & {"\n", "'"} or at in ("/", "//"):
        raise CosmosValueError(
            f"--at {at!r} is no absolute path of a directory below /. Give one without . and .. and without quotation "
            "marks."
        )
    return Path(at)


def _moved(
    builds: list[StoredBuild], place: Path, step: Steps, held: ExitStack
) -> tuple[list[MovedEnvironment], list[str]]:
    """Return the environments as they are to be there, and sentences on those that cannot be; none of them is removed
    until ``held`` is closed."""
    moved: list[MovedEnvironment] = []
    failures: list[str] = []
    for each in builds:
        step.begin(f"reading {title(each)}")
        try:
            if not held.enter_context(kept(each.path)):
                raise VirtualenvError("it has been removed")
            moved.append(_at(each, place))
        except (VirtualenvError, OSError) as error:
            failures.append(f"{title(each)}: {error}")
    return moved, failures


def _at(stored: StoredBuild, place: Path) -> MovedEnvironment:
    from cosmos_venv.environments.archive.image import MovedEnvironment
    from cosmos_venv.environments.archive.packing import NotPortable

    refuse_unfit(stored)
    record = stored.record
    assert record is not None  # noqa: S101 - without one it has faults
    try:
        if record.spec.system_site_packages:
            raise NotPortable(why_not_portable(record))
        return MovedEnvironment.of(stored.path, record, place)
    except NotPortable as error:
        raise VirtualenvError(f"it works only where it was built: {error}") from error


def _as_data(image: Image | None, moved: list[MovedEnvironment]) -> dict[str, object]:
    environments = [
        {
            "digest": each.record.digest,
            "path": str(each.path),
            "python": each.record.spec.interpreter.executable,
            "python_version": each.record.spec.interpreter.version,
        }
        for each in moved
    ]
    return {
        "digest": image.digest if image else None,
        "bytes": image.size if image else 0,
        "environments": environments if image else [],
    }


def _lines(target: Path, image: Image, place: Path, builds: list[StoredBuild]) -> list[str]:
    pythons = {each.record.spec.interpreter for each in builds if each.record}
    needed = ", ".join(sorted(f"{each.executable} ({each.implementation} {each.version})" for each in pythons))
    return [
        f"{target}: {decimal(image.size)}, {image.digest}",
        *(f"  holds       {title(each)}" for each in builds),
        f"  mount at    {place}",
        f"  needs       {needed}",
    ]
