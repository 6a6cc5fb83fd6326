"""Where runs are executed, behind one contract; so far in local processes."""
