"""Pictures that a program draws: simple things before simple backgrounds, and a character with a made-up name."""
