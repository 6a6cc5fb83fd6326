"""Records on disk and the tidy frame made of them. No torch."""
