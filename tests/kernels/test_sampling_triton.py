"""sample's GPU kernel in Triton's interpreter."""

from tests.kernels.sampling_suite import SamplingSuite


class TestTriton(SamplingSuite):
    backend = "triton"
    interpreter = "plain"
    sizes = (1, 127, 129, 5000)  # more than a tile
    draws = 60
    alike = 24  # the interpreter takes a tenth of a second a row
