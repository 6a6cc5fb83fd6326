"""One run -> one record; many runs: scheduler, recovery, trackers."""
