"""sample's TPU kernel in Pallas's two interpreters: the quick one, and one that raises on races."""

import pytest

from kernels.machine import interpreted
from kernels.sampling import categorical, sample
from tests.kernels.sampling_suite import RNG, SamplingSuite, logits


class TestMosaicTpu(SamplingSuite):
    backend = "mosaic_tpu"
    interpreter = "plain"
    sizes = (1, 127, 129, 1500, 50257)
    short_floats = ("bfloat16",)
    draws = 20_000


@pytest.mark.slow
class TestMosaicTpuRaces(SamplingSuite):
    """At sizes that the slow interpreter can do."""

    backend = "mosaic_tpu"
    interpreter = "races"
    sizes = (1, 129)
    short_floats = ("bfloat16",)
    draws = 400

    def test_every_filter_over_two_grid_steps(self):
        self.agree(logits(9, 129, "bfloat16"), top_k=50, top_p=0.8, min_p=0.01)


def test_no_races():
    TestMosaicTpuRaces().test_every_filter_over_two_grid_steps()


@pytest.mark.parametrize(
    ("reason", "call"),
    [
        ("takes float32 and bfloat16, got float16", (sample, logits(dtype="float16"), {})),
        ("XLA makes Gumbel noise", (categorical, logits(), dict(method="gumbel"))),
    ],
)
def test_what_it_does_not_take(reason, call):
    function, given, settings = call
    with interpreted(), pytest.raises(ValueError, match=f"mosaic_tpu: {reason}"):
        function(given, RNG, **settings, implementation="mosaic_tpu")
