"""How a study gets on, shown: a live display, a log, a notebook's cell, events for programs."""
