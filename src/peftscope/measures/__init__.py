"""What is measured on every run, and how: time, memory, scores."""
