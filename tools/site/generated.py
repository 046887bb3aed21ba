"""The directive ``{generated}``, which puts a part of the reference into a page: ```` ```{generated} settings ````.

The words in the directive are the arguments of the function that writes the part, such as names of settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tools.site.classes_page import classes_text, functions_text, operators_text
from tools.site.commands_page import commands_text
from tools.site.errors_page import errors_text
from tools.site.judged_page import faults_table, unmet_table
from tools.site.settings_page import settings_table, settings_text
from tools.site.toolkit_page import fixtures_text, marks_text, options_text
from tools.site.undocumented import Undocumented

if TYPE_CHECKING:
    from docutils.nodes import Node
    from sphinx.application import Sphinx

WRITERS: Mapping[str, Callable[..., str]] = {
    "classes": classes_text,
    "commands": commands_text,
    "errors": errors_text,
    "faults": faults_table,
    "fixtures": fixtures_text,
    "functions": functions_text,
    "marks": marks_text,
    "operators": operators_text,
    "pytest-options": options_text,
    "settings": settings_text,
    "settings-table": settings_table,
    "unmet": unmet_table,
}
"""Argument of the directive -> the function that writes the part."""


def add_to(app: Sphinx) -> None:
    """Add the directive to a build.

    :param app: the build.
    """
    # Sphinx is in the environment of the site alone; tests of the functions above do without.
    from docutils import nodes
    from docutils.statemachine import StringList
    from sphinx.util import logging
    from sphinx.util.docutils import SphinxDirective

    logger = logging.getLogger(__name__)

    class Generated(SphinxDirective):  # type: ignore[misc]  # the types of Sphinx are in its environment
        required_arguments = 1
        has_content = True

        def run(self) -> list[Node]:
            (name,) = self.arguments
            self.env.note_reread()  # the code may have changed, which Sphinx does not look at
            try:
                text = WRITERS[name](*" ".join(self.content).split())
            except Undocumented as error:
                for line in error.missing:
                    logger.warning(line, location=self.get_location())
                return []
            holder = nodes.Element()
            holder.document = self.state.document
            lines = StringList(text.splitlines(), source=f"<{name}>")
            self.state.nested_parse(lines, self.content_offset, holder, match_titles=True)
            return list(holder.children)

    app.add_directive("generated", Generated)
