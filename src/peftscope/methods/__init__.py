"""The technique catalog, and building a model with a technique: the only room that knows technique names."""
