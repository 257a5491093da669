"""sample's TPU kernel in Pallas's two interpreters: the quick one, and the one that sees races."""

from tests.kernels.sampling_suite import SamplingSuite


class TestMosaicTpu(SamplingSuite):
    backend = "mosaic_tpu"
    interpreter = "plain"
    sizes = (1, 127, 129, 1500, 50257)
    draws = 20_000


class TestMosaicTpuRaces(SamplingSuite):
    """At sizes that the slow interpreter can do."""

    backend = "mosaic_tpu"
    interpreter = "races"
    sizes = (1, 129)
    draws = 2_000
