"""The pages of the nodes of a plan: the documentation of their tasks, in Markdown.

A page says what is known of its node. Only a manifest has columns, and compiled SQL where dbt has compiled. Airflow
stores the pages with the DAG, so the length of each is bounded. They hold no absolute path and no time, and their lists
are sorted: every host makes the same pages of one project.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from cosmos_venv.config.docs_site import docs_url
from cosmos_venv.constants import TESTS
from cosmos_venv.project.node import children_by_parent
from cosmos_venv.project.node_entry import LONGEST_SQL
from cosmos_venv.rendering.selectors import test_name
from cosmos_venv.rendering.task_docs import markdown

if TYPE_CHECKING:
    from cosmos_venv.project.node import DbtNode
    from cosmos_venv.rendering.model import Plan, PlannedTask
    from cosmos_venv.rendering.plan_request import PlanRequest

MOST_OF_A_DAG = 2_000_000
"""About how many characters the pages of one project may have: Airflow's scheduler and web server load all of them."""

_STEP, _LEAST = 100, 500
_LONGEST_OF_A_COLUMN = 200
_LEAST_SQL = 200  # characters; a shorter piece of SQL is of no use


def with_pages(plan: Plan, request: PlanRequest) -> Plan:
    """A plan whose tasks of nodes have their pages; test tasks have none.

    :param plan: of one task a node, or of batches.
    :param request: what is planned. With thousands of pages each page is shorter, so that all stay within
        ``MOST_OF_A_DAG``.
    """
    longest, number = request.settings.longest_page, sum(map(_has_page, plan.tasks))
    if not longest or not number:
        return plan
    # In whole steps: else all pages would change with each node that a large project gets.
    share = max(MOST_OF_A_DAG // number // _STEP * _STEP, _LEAST)
    pages = _Pages(plan, request, longest=min(longest, share))
    return msgspec.structs.replace(plan, tasks=tuple(map(pages.documented, plan.tasks)))


def _has_page(task: PlannedTask) -> bool:
    return task.node_id is not None and ".DbtTest" not in task.operator


def document_of_batch(members: Iterable[DbtNode], longest: int) -> str:
    """The nodes of a batch, in Markdown.

    :param members: the nodes.
    :param longest: about how many characters; 0: there is no page.
    """
    names = [markdown.code(node.unique_id) for node in members]
    return markdown.bullets(names, longest) if longest and names else ""


class _Pages:
    """The pages of one plan.

    :param plan: knows the tasks.
    :param request: knows the nodes.
    :param longest: about how many characters a page may have.
    """

    def __init__(self, plan: Plan, request: PlanRequest, *, longest: int) -> None:
        self._known = request.all_nodes
        self._longest = longest
        self._has_sql, self._docs_base = request.settings.has_sql_pages, request.settings.docs_base
        self._tests = request.all_tests_of
        self._readers = children_by_parent(each for each in self._known.items() if each[1].resource_type not in TESTS)
        of_many = {task.task_id for task in plan.tasks if task.node_id is None}
        # A node in a batch goes by its own id: the task of the batch stands for many nodes.
        self._names = {each: task for each, task in plan.tasks_map.items() if task not in of_many}

    def documented(self, task: PlannedTask) -> PlannedTask:
        if task.node_id is None or not _has_page(task):
            return task
        return msgspec.structs.replace(task, document=self._page(self._known[task.node_id]))

    def _page(self, node: DbtNode) -> str:
        parts = []
        if node.description.strip():
            parts.append(markdown.paragraphs(node.description, self._longest // 2))
        parts.append("\n".join(self._facts(node)))
        sql = node.compiled_sql if self._has_sql else ""
        left = self._left(parts)
        if columns := self._columns(node, left // 2 if sql else left):
            parts.append(columns)
        if shown := self._sql(sql, self._left(parts)):
            parts.append(shown)
        return "\n\n".join(parts)

    def _left(self, parts: list[str]) -> int:
        return max(self._longest - sum(map(len, parts)), 0)

    def _facts(self, node: DbtNode) -> Iterable[str]:
        yield f"- dbt node: {markdown.code(node.unique_id)}"
        yield f"- file: {markdown.code(node.context_dict['original_file_path'])}"
        if materialized := node.materialized:
            yield f"- materialized: {markdown.code(materialized)}"
        if owner := node.owner:
            yield f"- owner: {markdown.code(owner)}"
        lists = {
            "tags": node.tags,
            "reads": [self._names.get(each, each) for each in sorted({*node.depends_on})],
            "read by": [self._names.get(each, each) for each in sorted(self._readers.get(node.unique_id, ()))],
            "tests": sorted({test_name(self._known[each]) for each in self._tests.get(node.unique_id, ())}),
        }
        for name, texts in lists.items():
            if texts:
                yield f"- {name}: {markdown.sentence([*map(markdown.code, texts)], self._longest // 8)}"
        if self._docs_base:
            yield f"- [dbt docs](<{docs_url(self._docs_base, node.unique_id)}>)"

    def _columns(self, node: DbtNode, room: int) -> str:
        if not node.columns:
            return ""
        lines = []
        for name, description in node.columns.items():
            said = markdown.line(description, _LONGEST_OF_A_COLUMN)
            lines.append(f"{markdown.code(name)}: {said}" if said else markdown.code(name))
        return f"Columns:\n\n{markdown.bullets(lines, room)}"

    def _sql(self, compiled: str, room: int) -> str:
        sql = compiled.strip()
        if not sql:
            return ""
        if room < _LEAST_SQL:
            return "Compiled SQL: there is no room for it on this page."
        shown = sql[:room].rstrip()
        is_cut = len(shown) < len(sql) or len(compiled) == LONGEST_SQL
        title = f"Compiled SQL, the first {len(shown)} characters" if is_cut else "Compiled SQL"
        return f"{title}:\n\n{markdown.block(shown, 'sql')}"
