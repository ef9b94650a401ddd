"""The suite on many hosts: every rank of MPI has its own host run a session, rank 0 gathers the records."""
