"""Small models to try methods on: one of each sort, one for each type of layer, and twins of a user's model."""
