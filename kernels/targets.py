"""The accelerators that kernels are compiled for, and what bounds them (makers' data sheets)."""

import dataclasses
from typing import Any

KiB, MiB = 2**10, 2**20


@dataclasses.dataclass(frozen=True)
class Target:
    """A chip: `flops` a second by dtype, `bandwidth` in bytes a second, `on_chip` bytes a program.

    `on_chip` is a TPU core's VMEM, and what a GPU block may take of shared memory. `arch` is the
    compiler's name of the chip, `device_kinds` JAX's.
    """

    name: str
    platform: str
    arch: str
    flops: dict[str, float]
    bandwidth: float
    on_chip: int
    device_kinds: tuple[str, ...] = ()

    def rate(self, dtype: str) -> float:
        """Flops a second; of a dtype that there is no figure of float32's."""
        return self.flops.get(dtype, self.flops["float32"])


def chip(name: str, platform, arch: str, bf16: float, f32: float, *rest) -> Target:
    return Target(name, platform, arch, rates(bf16, f32), *rest)


def rates(bf16: float, f32: float) -> dict[str, float]:
    return {"bfloat16": bf16, "float16": bf16, "float32": f32}


# float32 is that of products in full precision: six bfloat16 passes on a TPU's matrix unit, the
# vector units of a GPU.
TARGETS = {
    t.name: t
    for t in [
        chip(
            "tpu-v5e",
            "tpu",
            "v5e:2x2",
            197e12,
            197e12 / 6,
            819e9,
            128 * MiB,
            ("TPU v5 lite", "TPU v5e"),
        ),
        chip(
            "tpu-v5p",
            "tpu",
            "v5p:2x2x1",
            459e12,
            459e12 / 6,
            2765e9,
            64 * MiB,
            ("TPU v5", "TPU v5p"),
        ),
        chip(
            "tpu-v6e",
            "tpu",
            "v6e:2x2",
            918e12,
            918e12 / 6,
            1640e9,
            128 * MiB,
            ("TPU v6 lite", "TPU v6e"),
        ),
        chip("gpu-sm80", "gpu", "sm_80", 312e12, 19.5e12, 2039e9, 163 * KiB, ("NVIDIA A100",)),
        chip(
            "gpu-sm90",
            "gpu",
            "sm_90",
            989e12,
            67e12,
            3350e9,
            227 * KiB,
            ("NVIDIA H100", "NVIDIA H200"),
        ),
        chip("gpu-sm100", "gpu", "sm_100", 2250e12, 80e12, 8000e9, 227 * KiB, ("NVIDIA B200",)),
        chip(
            "gpu-gfx942",
            "gpu",
            "gfx942",
            1307e12,
            163.4e12,
            5300e9,
            64 * KiB,
            ("AMD Instinct MI300X",),
        ),
    ]
}


# Of devices that share a target, by JAX's names: what isn't the target's own.
OWN: dict[str, dict[str, Any]] = {
    "NVIDIA H200 NVL": dict(bandwidth=4800e9, flops=rates(835e12, 60e12)),
    "NVIDIA H200": dict(bandwidth=4800e9),
    "NVIDIA H100 PCIe": dict(bandwidth=2000e9, flops=rates(756e12, 51e12)),
    "NVIDIA H100 NVL": dict(bandwidth=3900e9, flops=rates(835e12, 60e12)),
    "NVIDIA A100-SXM4-40GB": dict(bandwidth=1555e9),
    "NVIDIA A100-PCIE-40GB": dict(bandwidth=1555e9),
    "NVIDIA A100 80GB PCIe": dict(bandwidth=1935e9),
}


def of_device(device_kind: str) -> Target | None:
    """The target that JAX's name of a device means, with the device's own figures, or None."""
    matches = (
        t for t in TARGETS.values() for kind in t.device_kinds if device_kind.startswith(kind)
    )
    exact = (t for t in TARGETS.values() if device_kind in t.device_kinds)
    target = next(exact, None) or next(matches, None)
    own = (figures for kind, figures in OWN.items() if device_kind.startswith(kind))
    return target and dataclasses.replace(target, **next(own, {}))
