"""Kernels of a TPU on 8 simulated devices against XLA's on one, and lowered for 8 real ones.

python -m tests.kernels.on_devices
"""

import json
import os

if __name__ == "__main__":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

    import jax
    import jax.numpy as jnp
    import numpy as np

    from kernels.attention import attention
    from kernels.attention.decode import decode_attention, paged_decode_attention
    from kernels.machine import compiled_for, interpreted
    from kernels.normalization import layer_norm
    from kernels.sampling import sample
    from kernels.shares import BATCH_AXES

    MESH = jax.make_mesh(
        (2, 2, 2), (*BATCH_AXES, "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 3
    )
    TPU = jax.sharding.AbstractDevice("TPU v5 lite", 1, platform="tpu")
    OF_TPUS = MESH.abstract_mesh.update(abstract_device=TPU)

    rng = np.random.default_rng(0)
    LENGTHS, PAGES = rng.integers(1, 64, 4), rng.integers(0, 6, (4, 4))

    def draw(*shape):
        return rng.normal(size=shape).astype("float32")

    def attended(backend, q, k, v, bias):
        return attention(q, k, v, bias=bias, causal=True, implementation=backend)

    def normed(backend, x, scale, bias, residual):
        return layer_norm(x, scale, bias, residual=residual, implementation=backend)

    def decoded(backend, q, k, v):
        return decode_attention(q, k, v, jnp.asarray(LENGTHS), implementation=backend)

    def decoded_pages(backend, q, k, v):
        lengths, pages = jnp.asarray(LENGTHS), jnp.asarray(PAGES)
        return paged_decode_attention(q, k, v, lengths, pages, implementation=backend)

    def sampled(backend, logits):
        return sample(logits, jax.random.key(0), top_p=0.9, implementation=backend)

    def qkv(batch):
        return draw(batch, 128, 2, 64), draw(batch, 128, 1, 64), draw(batch, 128, 1, 64)

    def rows(*shape):
        return draw(*shape), draw(shape[-1]), draw(shape[-1]), draw(*shape)

    CALLS = {
        "attention": (attended, (*qkv(4), draw(4, 1, 128, 128))),
        "attention, a shared bias": (attended, (*qkv(4), draw(1, 2, 128, 128))),
        "attention, 6 sequences": (attended, (*qkv(6), draw(1, 1, 1, 128))),
        "norm": (normed, rows(4, 8, 256)),
        "norm, as many rows as scales": (normed, rows(256, 256)),
        "norm of one row": (normed, rows(256)),
        "decode": (decoded, (draw(4, 2, 128), *draw(2, 4, 2, 64, 128))),
        "decode pages": (decoded_pages, (draw(4, 2, 128), *draw(2, 6, 2, 16, 128))),
        "sample": (sampled, (3 * draw(4, 300),)),
    }

    def with_gradients(call, backend):
        """The call's results, and the gradients of a sum of them where it has any."""

        def total(*arrays):
            results = call(backend, *arrays)
            return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(results)), results

        if call not in (attended, normed):
            return jax.jit(lambda *arrays: call(backend, *arrays))
        return jax.jit(jax.grad(total, argnums=(0, 1, 2, 3), has_aux=True))

    def on_tpus(array):
        whole = jax.sharding.NamedSharding(OF_TPUS, jax.P())
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=whole)

    def difference(a, b):
        return float(np.abs(np.asarray(a) - np.asarray(b)).max())

    differences, launches = {}, {}
    for name, (call, arrays) in CALLS.items():
        expected = with_gradients(call, "xla")(*arrays)
        with interpreted(), jax.set_mesh(MESH):
            made = with_gradients(call, "mosaic_tpu")(*arrays)
        differences[name] = max(jax.tree.leaves(jax.tree.map(difference, expected, made)))
        with compiled_for("tpu-v5e"), jax.sharding.use_abstract_mesh(OF_TPUS):
            traced = with_gradients(call, "mosaic_tpu").trace(*map(on_tpus, arrays))
            text = traced.lower(lowering_platforms=("tpu",)).as_text()
        launches[name] = text.count("tpu_custom_call")
    print(json.dumps({"differences": differences, "launches": launches}))
