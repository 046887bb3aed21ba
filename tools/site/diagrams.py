"""Diagrams as code: blocks of Mermaid, drawn in the reader's browser by a script that is part of the site."""

from __future__ import annotations

import html
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docutils.nodes import Element, Node
    from sphinx.application import Sphinx

SCRIPT = Path(sys.prefix, "share", "scripts", "mermaid.min.js")
"""Where ``tools/bootstrap.py`` puts Mermaid, in the environment of the site."""


def add_to(app: Sphinx) -> None:
    """Have a build draw blocks of Mermaid.

    :param app: the build.
    """
    from docutils import nodes
    from sphinx.util.docutils import SphinxDirective

    class Mermaid(SphinxDirective):  # type: ignore[misc]  # the types of Sphinx are in its environment
        has_content = True

        def run(self) -> list[Node]:
            drawn = f'<pre class="diagram">{html.escape(chr(10).join(self.content))}</pre>'
            return [nodes.raw("", drawn, format="html", classes=["with-diagram"])]

    def add_scripts(_: Sphinx, __: str, ___: str, ____: dict[str, Any], doctree: Element | None) -> None:
        if doctree is not None and any("with-diagram" in each["classes"] for each in doctree.findall(nodes.raw)):
            app.add_js_file("mermaid.min.js")
            app.add_js_file("diagrams.js")

    def copy_script(_: Sphinx, error: Exception | None) -> None:
        if error is None and app.builder.format == "html":
            shutil.copy(SCRIPT, Path(app.outdir, "_static", SCRIPT.name))

    app.add_directive("mermaid", Mermaid)
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", copy_script)
