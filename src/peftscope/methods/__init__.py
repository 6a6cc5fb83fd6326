"""The method catalog, and building a model with a method: the only room that knows method names."""
