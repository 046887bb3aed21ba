"""How are thousands of like tasks made? The first by its constructor, the others as copies of it under other ids.

Two tasks of one operator differ in what they select and in what they say of their node. Airflow wraps each constructor
of an operator and checks each attribute, which is most of the time that a DAG of a dbt project takes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cosmos_venv.compat import DAG, BaseOperator, TaskGroup, can_be_copied, copy_task
from cosmos_venv.operators.arguments import parameters

_OWN = frozenset({"select", "extra_context", "doc_md"})
"""What differs from task to task; the constructor keeps each as it is given, under its own name."""


@dataclass(frozen=True, kw_only=True)
class TaskMaker:
    """Makes the tasks of one project.

    :param shared: the arguments of all of them; each operator gets those that it takes.
    """

    shared: Mapping[str, Any]
    dag: DAG
    _made: dict[Hashable, BaseOperator] = field(default_factory=dict)

    def make(
        self, cls: type[BaseOperator], label: str, task_group: TaskGroup | None, arguments: Mapping[str, Any]
    ) -> BaseOperator:
        """A task of the class.

        :param label: its id within the group.
        :param arguments: go over those that all tasks share.
        """
        accepted = parameters(cls)
        own = {name: value for name, value in arguments.items() if name in accepted}
        key = _key(cls, own)
        model = None if key is None else self._made.get(key)
        if model is not None:
            return copy_task(model, label, task_group, {name: own[name] for name in _OWN & own.keys()})
        shared = {name: value for name, value in self.shared.items() if name in accepted}
        task = cls(**{**shared, **own}, task_id=label, task_group=task_group, dag=self.dag)
        if key is not None and can_be_copied(task):
            self._made[key] = task
        return task


def _key(cls: type[BaseOperator], arguments: Mapping[str, Any]) -> Hashable | None:
    """What tasks have in common that can be copies of each other; None where that cannot be told."""
    # The names of what differs, too: an argument that is not given may come from default_args.
    common = ((name, None, None) if name in _OWN else (name, type(value), value) for name, value in arguments.items())
    key = (cls, *common)
    try:
        hash(key)
    except TypeError:
        return None
    return key
