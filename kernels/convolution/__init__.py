"""The 3x3 convolution of images, with a weight gradient of its own on a CPU."""

from kernels.convolution.api import conv3x3

__all__ = ["conv3x3"]
