"""The decoder's forward on the processor, every token's bits independent of its batch.

    Plan (the layout of a batch) + Layer (packed weights).run(residual, plan), Head.run(rows)

Arrays are numpy's. The math is that of `worldpm.model.decoder`; see the package's README.
"""

from worldpm_kernels._core import (
    Head,
    Layer,
    Plan,
    isas,
    num_threads,
    precisions,
    set_num_threads,
)

__all__ = ["Head", "Layer", "Plan", "isas", "num_threads", "precisions", "set_num_threads"]
