"""A study -> its runs and trials: expansion, the search of learning rates, the schedule of jobs."""
