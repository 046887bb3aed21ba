"""Many contenders at one instant, each in a process of its own; the timeline of what they did, and what they weigh."""
