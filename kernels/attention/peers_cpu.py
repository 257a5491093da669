"""Others' attention, by name, to be timed against ours on the same arguments."""

from collections.abc import Callable

import jax


def jax_nn(
    q_BxTxHxD: jax.Array, k_BxSxKxD: jax.Array, v_BxSxKxD: jax.Array, *, causal: bool = False
) -> jax.Array:
    """`jax.nn.dot_product_attention`, as XLA compiles it."""
    return jax.nn.dot_product_attention(q_BxTxHxD, k_BxSxKxD, v_BxSxKxD, is_causal=causal)


def tokamax_xla_chunked(
    q_BxTxHxD: jax.Array, k_BxSxKxD: jax.Array, v_BxSxKxD: jax.Array, *, causal: bool = False
) -> jax.Array:
    """Tokamax's attention in chunks (2112.05682). Its package is imported when it is called."""
    import tokamax

    return tokamax.dot_product_attention(
        q_BxTxHxD, k_BxSxKxD, v_BxSxKxD, is_causal=causal, implementation="xla_chunked"
    )


PEERS: dict[str, Callable[..., jax.Array]] = {
    "jax_nn": jax_nn,
    "tokamax_xla_chunked": tokamax_xla_chunked,
}


def takes(case: str) -> bool:
    """Whether the peers take a case of shapes.py: all of a CPU's."""
    return case.startswith("cpu_")
