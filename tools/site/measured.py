"""The role ``{measured}``, which puts a figure of the stored benchmarks into a sentence of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tools.figures import measured

if TYPE_CHECKING:
    from docutils.nodes import Node
    from sphinx.application import Sphinx


def add_to(app: Sphinx) -> None:
    """Add the role to a build.

    :param app: the build.
    """
    from docutils import nodes
    from sphinx.util import logging

    logger = logging.getLogger(__name__)

    def role(_: str, __: str, name: str, line: int, inliner: Any, *___: Any) -> tuple[list[Node], list[Any]]:
        try:
            return [nodes.Text(measured(name))], []
        except (KeyError, ValueError) as error:
            page = inliner.document.settings.env.docname
            logger.warning(f"there is no measured figure {name!r}: {error}", location=(page, line))
            return [], []

    app.add_role("measured", role)
