"""The element types of operands."""

from collections.abc import Mapping

import numpy as np

DTYPES: Mapping[str, np.dtype] = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}
"""The dtypes by the names used in kernel names, records and options."""
