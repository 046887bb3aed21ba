"""Many contenders at one instant, each in a process of its own, and the timeline of what they did."""
