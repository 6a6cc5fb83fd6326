"""What a method can do, by doing it on small models."""
