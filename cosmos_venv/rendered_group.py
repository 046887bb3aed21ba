"""How does a dbt group stand between other tasks before all of it is made?

``before >> group`` puts tasks before the first ones of the group. Where only the task is made that this process runs,
it does so if that is one of them; and again for the others should they be made after all.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from cosmos_venv.compat import TaskGroup
from cosmos_venv.rendered import RenderedProject
from cosmos_venv.rendering.asking import PUTTING_IN_ORDER, who_looks

if TYPE_CHECKING:
    from collections.abc import Callable

    from cosmos_venv.compat import BaseOperator


class RenderedGroup(RenderedProject, TaskGroup):
    """A TaskGroup that may be there in part only. All methods are those of Airflow's TaskGroup."""

    #: tells it, to the tasks in it, from the groups of its folders and tests.
    holds_dbt_project = True
    _postponed: tuple[Callable[[], object], ...] = ()

    def _make_all(self) -> None:
        super()._make_all()
        if self._part is None:
            postponed, self._postponed = self._postponed, ()
            for relate in postponed:
                relate()

    def _set_relatives(self, task_or_task_list: Any, upstream: bool = False, edge_modifier: Any = None) -> None:
        """Whatever comes before or after the group by its own methods."""
        others = task_or_task_list if isinstance(task_or_task_list, Sequence) else [task_or_task_list]
        self._need_all_for_labels(edge_modifier, *others)
        relate = partial(super()._set_relatives, task_or_task_list, upstream=upstream, edge_modifier=edge_modifier)
        if self._part is None:
            relate()
            return
        self._postponed += (relate,)
        for task in self._part.first if upstream else self._part.last:
            task._set_relatives(task_or_task_list, upstream=upstream)

    def update_relative(self, other: Any, upstream: bool = True, edge_modifier: Any = None) -> None:
        """What comes before or after it by the methods of the other side, which asks for first or last tasks then."""
        self._need_all_for_labels(edge_modifier, other)
        if self._part is not None:
            self._postponed += (partial(other.set_downstream if upstream else other.set_upstream, self),)
        super().update_relative(other, upstream, edge_modifier=edge_modifier)

    def _need_all_for_labels(self, *edge_modifiers: Any) -> None:
        """A label is for all the first or last tasks together, or for the groups that these stand in."""
        if any(hasattr(each, "add_edge_info") for each in edge_modifiers):
            self._make_all()

    def get_roots(self) -> Generator[BaseOperator, None, None]:
        """The tasks before which none of the group comes."""
        yield from self._part.first if self._part and self._is_put_in_order() else super().get_roots()

    def get_leaves(self) -> Generator[BaseOperator, None, None]:
        """The tasks after which none of the group comes."""
        yield from self._part.last if self._part and self._is_put_in_order() else super().get_leaves()

    def _is_put_in_order(self) -> bool:
        return who_looks(PUTTING_IN_ORDER) is None
