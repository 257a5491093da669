"""NumPyro's own VAE example: 784-400-50-400-784, softplus, Adam 1e-3, batches of 128.

Its epoch is one compiled loop over batches that are gathered and binarized on the device; so is
ours here, on the same network and batch.
"""

import functools
import sys

CONFIG = "configs/vae.py:numpyro"
REQUIREMENTS = ("numpyro==0.22.0", "jax==0.11.2")
WORK = "train"
UNIT, UNITS_PER_STEP = "examples", 128
STEPS = 200


def main() -> None:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import numpyro
    import numpyro.distributions as dist
    from jax.example_libraries import stax
    from numpyro.infer import SVI, Trace_ELBO

    from launch.peers.protocol import serve

    dense = functools.partial(stax.Dense, W_init=stax.randn())
    encoder = stax.serial(
        dense(400),
        stax.Softplus,
        stax.FanOut(2),
        stax.parallel(dense(50), stax.serial(dense(50), stax.Exp)),
    )
    decoder = stax.serial(dense(400), stax.Softplus, dense(784), stax.Sigmoid)

    def model(batch):
        decode = numpyro.module("decoder", decoder, (128, 50))
        with numpyro.plate("batch", len(batch)):
            z = numpyro.sample("z", dist.Normal(0, 1).expand([50]).to_event(1))
            numpyro.sample("x", dist.Bernoulli(decode(z)).to_event(1), obs=batch)

    def guide(batch):
        encode = numpyro.module("encoder", encoder, (128, 784))
        mean, std = encode(batch)
        with numpyro.plate("batch", len(batch)):
            numpyro.sample("z", dist.Normal(mean, std).to_event(1))

    images = np.load(sys.argv[1])["image"].reshape(-1, 784).astype(np.float32) / 255
    svi = SVI(model, guide, numpyro.optim.Adam(1e-3), Trace_ELBO())
    data = jnp.asarray(images)

    def binarized(rng, order, index):
        rows = jax.lax.dynamic_slice_in_dim(order, index * UNITS_PER_STEP, UNITS_PER_STEP)
        return jax.random.bernoulli(rng, data[rows]).astype(jnp.float32)

    @functools.partial(jax.jit, static_argnums=2)
    def epoch(state, rng, steps):
        order = jax.random.permutation(rng, len(data))

        def step(index, carry):
            total, state = carry
            batch = binarized(jax.random.fold_in(rng, index), order, index)
            state, loss = svi.update(state, batch)
            return total + loss, state

        return jax.lax.fori_loop(0, steps, step, (0.0, state))

    state = svi.init(jax.random.key(0), data[:UNITS_PER_STEP])
    rng = jax.random.key(1)

    def stretch(steps: int) -> None:
        nonlocal state, rng
        rng, now = jax.random.split(rng)
        loss, state = epoch(state, now, steps)
        jax.block_until_ready((loss, state))

    serve(stretch)


if __name__ == "__main__":
    main()
