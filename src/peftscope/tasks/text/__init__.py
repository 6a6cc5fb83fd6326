"""Tasks of prompts and answers."""
