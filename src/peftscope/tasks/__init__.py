"""Tasks: data, metric, and how a model is trained and scored on them. Importing this loads nothing heavy."""
