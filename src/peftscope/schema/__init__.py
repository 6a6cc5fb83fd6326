"""What the user writes and what a run leaves: specs in, records out. No torch."""
