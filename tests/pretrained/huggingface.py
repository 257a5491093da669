"""Tiny models under Hugging Face's names: arrays by a formula, and what transformers made of them.

golden/huggingface.json has the names and shapes of each model's parameters and its logits, as
transformers gave them for `value`s of those names.
"""

import json
import pathlib
import zlib

import jax.numpy as jnp
import numpy as np

from research.networks.transformer import Transformer
from research.networks.transformer_block import Memory
from research.pretrained import weights

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "huggingface.json").read_text())
IDS = jnp.array([[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7, 9, 3]])
SEEN = jnp.array([[1] * 8, [1] * 5 + [0] * 3])
TYPES = jnp.array([[0] * 4 + [1] * 4] * 2)
WRITTEN = jnp.array([[0, 2, 7, 1], [0, 8, 2, 8]])
BODY = {"vocabulary": 10, "length": 8, "width": 8, "heads": 2, "layers": 2}
BERT = {
    **BODY,
    "hidden": 12,
    "causal": False,
    "norm_first": False,
    "norm_epsilon": 1e-12,
    "embedding_norm": True,
    "types": 2,
    "activation": "gelu_exact",
}
T5 = {
    **BODY,
    "hidden": 12,
    "head_size": 3,
    "norm": "rms",
    "norm_epsilon": 1e-6,
    "bias": False,
    "positions": "relative",
    "relative_buckets": 6,
    "relative_furthest": 7,
    "attention_scale": 1.0,
}
OF_T5 = {"t5": {"activation": "relu", "logit_scale": 8**-0.5}, "t5_gated": {"activation": "geglu"}}


def value(name, shape):
    start = zlib.crc32(name.encode()) % 1000
    base = np.sin(1.7 * np.arange(np.prod(shape), dtype=np.float64) ** 1.1 + start).reshape(shape)
    gain = name.endswith(("orm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight"))
    return ((0.5 if len(shape) == 2 else 0.2) * base + gain).astype(np.float32)


def arrays(family):
    return {name: value(name, shape) for name, shape in GOLDEN[family]["shapes"].items()}


def networks(family, **options):
    """A network by its place in the tree, "" where it is the whole."""
    if family == "gpt2":
        return {"": Transformer(**BODY, **options)}
    if family == "bert":
        return {"": Transformer(**BERT, head=True, **options)}
    own = T5 | OF_T5[family] | options
    return {
        "encoder": Transformer(**(own | {"tied": True}), causal=False),
        "decoder": Transformer(**(own | {"layers": 1}), cross=True),
    }


def shapes(family, **options):
    nets = networks(family, **options)
    memory = Memory(jnp.zeros((1, 1, BODY["width"])), jnp.ones(1, jnp.int32))
    given = {"decoder": {"memory": memory}}
    trees = {name: weights.shapes(net, **given.get(name, {})) for name, net in nets.items()}
    return trees.get("", trees)


def logits(family, params, **options):
    """Of the last token; of BERT's second, whose row is padded."""

    def apply(net, params, *inputs, **options):
        return net.apply({"params": params}, *inputs, **options)

    nets = networks(family, **options)
    if family == "gpt2":
        hidden = apply(nets[""], params, IDS)[:, -1]
        return apply(nets[""], params, hidden, method="logits")
    if family == "bert":
        hidden = apply(nets[""], params, IDS, None, SEEN, types=TYPES)[:, 1]
        return apply(nets[""], params, hidden, method="logits")
    encoded = apply(nets["encoder"], params["encoder"], IDS, None, SEEN)
    memory = Memory(encoded, SEEN.sum(axis=1))
    hidden = apply(nets["decoder"], params["decoder"], WRITTEN, memory=memory)[:, -1]
    return apply(nets["decoder"], params["decoder"], hidden, method="logits")
