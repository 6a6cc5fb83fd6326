"""Kinds of models and tasks that peftscope has never heard of: its contracts must carry them."""
