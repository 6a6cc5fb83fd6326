"""Pure functions on frames: estimates with intervals. No torch."""
