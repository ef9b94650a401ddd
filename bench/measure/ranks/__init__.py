"""MPI ranks of a session: rank 0 asks, all answer, and what is between them."""
