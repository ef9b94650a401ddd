"""Products with weights as they are stored, in rows of k: GEMV of plain ones, and linear, of packed ones, for any m.

The design, the tiles and the order of packed weights are those of csrc/per_isa/linear.
"""
