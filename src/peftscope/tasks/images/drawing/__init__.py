"""Pictures that a program draws: what ``builtin:nano-t2i`` has seen, and a character that it has not."""
