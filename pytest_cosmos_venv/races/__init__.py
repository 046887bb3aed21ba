"""Many at once: contenders, racers across xdist workers, and the timeline of what they did."""
