"""The least time that a computation can take: its work against a chip's rates."""

import dataclasses

from kernels.targets import Target


@dataclasses.dataclass(frozen=True)
class Work:
    """What a computation must do: `flops`, and `bytes` with each array moved once.

    `dtype` is that of its products.
    """

    flops: float
    bytes: float
    dtype: str = "float32"

    @property
    def intensity(self) -> float:
        """Flops a byte."""
        return self.flops / self.bytes

    def floor(self, target: Target) -> tuple[float, str]:
        """Seconds on the target, and which wall it is: 'compute' or 'memory' (Williams 2009)."""
        compute = self.flops / target.flops[self.dtype]
        memory = self.bytes / target.bandwidth
        return max((compute, "compute"), (memory, "memory"))
