"""Libraries on weights that are only stored: `linear` and `linear_a8`, a module per library, named as its rows are."""
