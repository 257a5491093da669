"""First parameters of networks that have hidden states, and logits of them."""

from typing import Any

import jax
from jaxtyping import Array


def initial(network: Any, rng: jax.Array, inputs: Array, **further: Any) -> Any:
    """Parameters of both: of `network(inputs, **further)` and of its method `logits`."""

    def through(network: Any, inputs: Array) -> Array:
        return network.logits(network(inputs, **further))

    return network.init(rng, inputs, method=through)["params"]
