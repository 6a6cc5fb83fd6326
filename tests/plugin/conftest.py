"""The plug-in beside this file is found through its entry points by commands alone, not by these tests."""

collect_ignore = ["plain_models"]
