"""The app: a local server for the page that the report is made of, which adds what changes."""
