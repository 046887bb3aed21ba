"""Texts of others in Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from markdown_it import MarkdownIt

from cosmos_venv.rendering.task_docs import markdown

ATTACKS = [
    "<script>alert(1)</script>",
    "\\<img src=x onerror=alert(1)>",
    "&lt;b>kept&lt;/b>",
    "a `b` <b onclick='x'>",
    "<!-- \n\n <svg/onload=alert(1)>",
    "```\n<script>alert(1)</script>",
    "~~~~ sql\n``` \n</code></pre><script>",
    "`` ` <iframe src=x> `",
    "<?php ?>",
    "<\n<script>",
    "[a](javascript:alert(1)) ![b](javascript:alert(1))",
    "<javascript:alert(1)>",
]


def rendered(text: str) -> str:
    """The HTML of a Markdown that lets HTML through, as Airflow 2 does with ``allow_raw_html_descriptions``."""
    html: str = MarkdownIt("commonmark", {"html": True}).render(text)
    return html


def tags(html: str) -> set[str]:
    return set(re.findall(r"<(\w+)", html))


@pytest.mark.parametrize("text", ATTACKS)
@pytest.mark.parametrize("put", [lambda text: markdown.paragraphs(text, 1000), lambda text: markdown.line(text, 1000)])
def test_no_text_becomes_html_of_its_own(text: str, put: Callable[[str], str]) -> None:
    html = rendered(put(text))

    assert tags(html) <= {"p", "code", "pre", "em", "strong", "a"}
    assert "javascript:" not in "".join(re.findall(r"(?:href|src)=\"[^\"]*", html))


@pytest.mark.parametrize("text", [*ATTACKS, "a`b", "``", "`", "a\n\nb", "x`` ` ```y"])
def test_code_is_its_text_in_one_line(text: str) -> None:
    html = rendered(f"- {markdown.code(text)}")

    assert tags(html) == {"ul", "li", "code"}
    assert html.count("<code>") == 1


@pytest.mark.parametrize("text", [*ATTACKS, "select 1\n```\n# heading", "select '````'", "\n~~~\n"])
def test_a_block_of_code_ends_where_its_text_ends(text: str) -> None:
    html = rendered(f"{markdown.block(text, 'sql')}\n\nbehind it")

    assert tags(html) == {"pre", "code", "p"}
    assert html.endswith("<p>behind it</p>\n")


@pytest.mark.parametrize(
    "text", ["```\nselect 1", "~~~ sql\n```\nx", "```\na\n```\n````\nb", "````\na\n```", "``` a`b"]
)
def test_what_stands_behind_a_text_is_no_part_of_its_code(text: str) -> None:
    assert rendered(f"{markdown.paragraphs(text, 1000)}\n\n- behind it").endswith("<li>behind it</li>\n</ul>\n")


def test_what_is_longer_ends_with_an_ellipsis() -> None:
    assert markdown.line("one two three", 9) == "one two …"
    assert markdown.paragraphs("one two three", 13) == "one two three"
    assert markdown.paragraphs("```\nselect 1\nselect 2", 13) == "```\nselect …\n```"


def test_lists_say_how_many_are_left_out() -> None:
    assert markdown.sentence(["a", "b", "c"], 8) == "a, b and 1 more"
    assert markdown.bullets(["a", "b", "c"], 1) == "- a\n- and 2 more"
    assert markdown.sentence(["a", "b"], 100) == "a, b"
