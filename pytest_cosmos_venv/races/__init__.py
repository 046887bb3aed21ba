"""Many contenders at one instant, each in its own process; the timeline of what they did, and the memory they need."""
