"""The one training loop, schedules, seeding, and measuring what a training costs."""
