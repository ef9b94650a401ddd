"""Products with weights as they are stored, in rows of k: GEMV of plain ones, linear, of packed ones, for any m, and
GEMV of those that aren't zero.

The design, the tiles and the order of packed weights are those of csrc/per_isa/linear.
"""
