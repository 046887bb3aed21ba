"""Every order of the steps of several processes, tried one after the other.

- Contenders are real processes. Each stops before each call that others can see (``visible_calls``, ``visible_files``,
  ``virtual_clock``), and one goes on at a time (``stepping``, ``schedule``).
- A schedule is a list of choices: which contender goes on, and whether it is killed or its step fails. The explorer
  keeps the schedules that are still to be run, and derives others from what each has shown (``reduction``).
- Nothing here is imported before a test asks for ``cosmos_race.explore``.
"""
