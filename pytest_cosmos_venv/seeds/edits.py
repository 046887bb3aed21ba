"""What can happen to the files of a project between two runs? Each change becomes a line of the story."""

from __future__ import annotations

from pytest_cosmos_venv.seeds.project import SeedProject
from pytest_cosmos_venv.seeds.seed_file import Obstacle, SeedFile
from pytest_cosmos_venv.seeds.story import Story


class SeedEdits:
    """A dbt project whose seeds change.

    A method that takes the name of a seed means the first one without it.
    """

    def __init__(self, project: SeedProject, story: Story) -> None:
        self.project = project
        self.story = story

    def file(self, seed: str | None = None) -> SeedFile:
        """The CSV of a seed: ``.path``, ``.digest()``, and all that can be done to it."""
        return self.project.file(seed)

    def edit(self, seed: str | None = None, csv: str | None = None) -> None:
        """Write other content into the CSV: ``csv``, or one row more."""
        self.file(seed).edit(csv)
        self._tell("edit", seed)

    def edit_unnoticed(self, seed: str | None = None) -> None:
        """Change one character of the CSV, and leave size and times as they were."""
        self.file(seed).edit_unnoticed()
        self._tell("edit, with the same size and times,", seed)

    def change_last_byte(self, seed: str | None = None) -> None:
        """Write another byte where the last one of the CSV is."""
        self.file(seed).change_last_byte()
        self._tell("change the last byte of", seed)

    def touch(self, seed: str | None = None) -> None:
        """Give the CSV a later time, and leave its content alone."""
        self.file(seed).touch()
        self._tell("touch", seed)

    def delete(self, seed: str | None = None) -> None:
        """Remove the CSV; ``restore`` brings it back."""
        self.file(seed).delete()
        self._tell("delete", seed)

    def restore(self, seed: str | None = None) -> None:
        """Bring the CSV back that was deleted, made unreadable or replaced by a link."""
        self.file(seed).restore()
        self._tell("restore", seed)

    def replace_line_endings(self, seed: str | None = None, ending: str = "\r\n") -> None:
        """End each line of the CSV with ``ending`` instead."""
        self.file(seed).replace_line_endings(ending)
        self._tell(f"end lines with {ending!r} in", seed)

    def add_byte_order_mark(self, seed: str | None = None) -> None:
        """Put the mark of UTF-8 before the CSV's first character."""
        self.file(seed).add_byte_order_mark()
        self._tell("add a byte order mark to", seed)

    def make_unreadable(self, seed: str | None = None, by: Obstacle = "dangling link") -> None:
        """Put something in the CSV's place that not even root can read; ``restore`` undoes it.

        :param by: ``dangling link``, ``directory``, or ``fifo`` (who opens it waits for ever).
        """
        self.file(seed).make_unreadable(by)
        self._tell(f"put a {by} in the place of", seed)

    def replace_by_link(self, seed: str | None = None) -> None:
        """Put a symbolic link to a file with the same content in the CSV's place."""
        self.file(seed).replace_by_link()
        self._tell("put a link to the same content in the place of", seed)

    def grow(self, seed: str | None = None, *, size: int) -> None:
        """Make the CSV ``size`` bytes large with zeros, which take no space on the disk."""
        self.file(seed).grow(size)
        self._tell(f"grow to {size} bytes:", seed)

    def set_manifest_checksum(self, checksum: str | None) -> None:
        """Write into ``manifest.json`` that every seed has this checksum; None: that none is known."""
        self.project.set_manifest_checksum(checksum)
        self.story.add(f"write the checksum {checksum} into the manifest")

    def _tell(self, what: str, seed: str | None) -> None:
        self.story.add(f"{what} {self.file(seed).path.name}")
