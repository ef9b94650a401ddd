"""Layers of a Transformer split over MPI ranks: what their messages cost, and from which link on splitting pays."""
