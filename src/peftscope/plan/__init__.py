"""A study -> its runs, checked before anything is trained."""
