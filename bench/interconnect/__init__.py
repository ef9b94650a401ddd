"""Messages and reductions between MPI ranks: the third wall, beside compute and memory."""
