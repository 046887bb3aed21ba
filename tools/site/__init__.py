"""The Sphinx extension of the site, which ``docs/conf.py`` names.

Parts of the reference are written by the build, from the code that they describe. Each function that writes one returns
Markdown, needs no Sphinx, and raises ``Undocumented`` for what has no entry. That is a warning of the build, and
``make docs`` takes warnings as errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Add everything to a build.

    :param app: the build.
    """
    from pygments.lexers.templates import SqlJinjaLexer

    from tools.site import diagrams, generated, measured, repository_links

    for part in (diagrams, generated, measured, repository_links):
        part.add_to(app)
    app.add_lexer("sql", SqlJinjaLexer)  # dbt's
    return {"parallel_read_safe": True, "parallel_write_safe": True}
