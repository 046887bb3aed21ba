"""Links of pages to files of the repository that are no pages of the site, such as ``../benchmarks/results/dags.md``.

In the repository they lead to the file. On the site they lead into the published repository, when ``repository_url`` of
``docs/conf.py`` has its URL. Otherwise the path stands behind the words of the link.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

INSTEAD: Mapping[str, str] = {"conformance/SPEC.md": "reference/requirements.md"}
"""File of the repository -> the page of the site that has its text."""
_LINK = re.compile(
    r"(?<!!)\[(?P<words>(?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\((?P<path>\.\.?/[^)\s#]*)(?P<anchor>#[^)\s]*)?\)"
)
_FENCE = re.compile(r"^ {0,3}(```+|~~~+).*?^ {0,3}\1`*\s*$", re.M | re.S)


def with_repository_links(text: str, page: Path, docs: Path, url: str, is_page: Callable[[Path], bool]) -> str:
    """Return the text of a page with links that lead somewhere on the site too.

    :param text: Markdown.
    :param page: the file.
    :param docs: the folder of all pages, in the repository.
    :param url: of the repository's files, such as ``https://…/blob/main``; empty: it is not known.
    :param is_page: whether a file is a page of the site, or is copied into it.
    """

    def repository_link(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(page.parent / link["path"]))
        path = os.path.relpath(target, docs.parent).replace(os.sep, "/")
        anchor = link["anchor"] or ""
        if path in INSTEAD:
            return f"[{link['words']}]({os.path.relpath(docs / INSTEAD[path], page.parent)}{anchor})"
        # What is not there stays as it is, for Sphinx to warn of.
        if is_page(target) or not target.exists():
            return link[0]
        return f"[{link['words']}]({url}/{path}{anchor})" if url else f"{link['words']} (`{path}`)"

    ends = [0, *(end for block in _FENCE.finditer(text) for end in block.span()), len(text)]
    parts = [text[start:end] for start, end in pairwise(ends)]
    # Every other part is a block of code.
    return "".join(part if number % 2 else _LINK.sub(repository_link, part) for number, part in enumerate(parts))


def add_to(app: Sphinx) -> None:
    """Have a build rewrite the links of its pages.

    :param app: the build.
    """
    app.add_config_value("repository_url", "", "env", types=[str])
    docs = Path(app.srcdir)

    def is_page(target: Path) -> bool:
        if not target.is_relative_to(docs):
            return False
        return target.suffix != ".md" or app.env.path2doc(str(target)) in app.env.found_docs

    def read(_: Sphinx, docname: str, source: list[str]) -> None:
        page = Path(app.env.doc2path(docname))
        source[0] = with_repository_links(source[0], page, docs, app.config.repository_url, is_page)

    app.connect("source-read", read)
