"""The public benchmark: its experiment folders and result files, in and out."""
