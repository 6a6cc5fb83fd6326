"""The one training loop, memory settings, pausing, seeding."""
