"""What Hugging Face calls each parameter of a transformer: one table a family of models."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Row(NamedTuple):
    """Arrays of a file that are one of ours: joined along our last axis, in their order.

    `turned` ones stand (out, in) there, as torch's Linear has them.
    """

    names: tuple[str, ...]
    turned: bool = False


Rows = dict[str, Row]


@dataclasses.dataclass(frozen=True)
class Family:
    """The rows by the path of our parameter; `{}` stands for the number of the layer.

    A file of the bare body lacks `prefix` before its names. `passed_over` matches names that a file
    may have and nothing here needs; `copies` are names of what it may say twice.
    """

    rows: Mapping[str, Row]
    prefix: str
    passed_over: str
    copies: Mapping[str, str]

    def row(self, path: str) -> Row | None:
        """Of the parameter at `block3/attention/qkv/kernel`; None where the family has none."""
        layer = re.search(r"block(\d+)/", path)
        row = self.rows.get(path if layer is None else re.sub(r"block\d+/", "block{}/", path))
        if row is None or layer is None:
            return row
        return Row(tuple(name.format(layer[1]) for name in row.names), row.turned)


def _norm(path: str, name: str, *, bias: bool = True) -> Rows:
    rows = {f"{path}/scale": Row((f"{name}.weight",))}
    return rows | ({f"{path}/bias": Row((f"{name}.bias",))} if bias else {})


def _linear(path: str, *names: str, bias: bool = True, turned: bool = True) -> Rows:
    rows = {f"{path}/kernel": Row(tuple(f"{name}.weight" for name in names), turned)}
    return rows | ({f"{path}/bias": Row(tuple(f"{n}.bias" for n in names))} if bias else {})


def _together(parts: Iterable[Rows]) -> Rows:
    return {path: row for part in parts for path, row in part.items()}


def _gpt2() -> Family:
    """Its Conv1D stands (in, out), and has queries, keys and values in one."""
    block, layer = "block{}", "transformer.h.{}"
    rows = [
        {"tokens": Row(("transformer.wte.weight",))},
        {"positions": Row(("transformer.wpe.weight",))},
        {"logits": Row(("lm_head.weight",), turned=True)},
        _norm(f"{block}/attention_norm", f"{layer}.ln_1"),
        _linear(f"{block}/attention/qkv", f"{layer}.attn.c_attn", turned=False),
        _linear(f"{block}/attention/out", f"{layer}.attn.c_proj", turned=False),
        _norm(f"{block}/feed_forward_norm", f"{layer}.ln_2"),
        _linear(f"{block}/feed_forward/up", f"{layer}.mlp.c_fc", turned=False),
        _linear(f"{block}/feed_forward/down", f"{layer}.mlp.c_proj", turned=False),
        _norm("last_norm", "transformer.ln_f"),
    ]
    return Family(
        rows=_together(rows),
        prefix="transformer.",
        passed_over=r"\.attn\.(masked_)?bias$",  # the causal mask
        copies={"lm_head.weight": "transformer.wte.weight"},
    )


def _bert() -> Family:
    block, layer, head = "block{}", "bert.encoder.layer.{}", "cls.predictions"
    heads = (f"{layer}.attention.self.{name}" for name in ("query", "key", "value"))
    rows = [
        {"tokens": Row(("bert.embeddings.word_embeddings.weight",))},
        {"positions": Row(("bert.embeddings.position_embeddings.weight",))},
        {"types": Row(("bert.embeddings.token_type_embeddings.weight",))},
        _norm("embedding_norm", "bert.embeddings.LayerNorm"),
        _linear(f"{block}/attention/qkv", *heads),
        _linear(f"{block}/attention/out", f"{layer}.attention.output.dense"),
        _norm(f"{block}/attention_norm", f"{layer}.attention.output.LayerNorm"),
        _linear(f"{block}/feed_forward/up", f"{layer}.intermediate.dense"),
        _linear(f"{block}/feed_forward/down", f"{layer}.output.dense"),
        _norm(f"{block}/feed_forward_norm", f"{layer}.output.LayerNorm"),
        _linear("head", f"{head}.transform.dense"),
        _norm("head_norm", f"{head}.transform.LayerNorm"),
        {"logit_bias": Row((f"{head}.bias",))},
    ]
    return Family(
        rows=_together(rows),
        prefix="bert.",
        # The next sentence's head, and that of masked tokens where the network has none.
        passed_over=r"embeddings\.position_ids$|pooler\.|^cls\.",
        copies={
            f"{head}.decoder.weight": "bert.embeddings.word_embeddings.weight",
            f"{head}.decoder.bias": f"{head}.bias",
        },
    )


def _t5(*, gated: bool) -> Family:
    """Two stacks, `encoder` and `decoder`, and one table of tokens, wherever we have it."""
    shared = Row(("shared.weight",))
    rows = [
        *({path: shared} for path in ("tokens", "encoder/tokens", "decoder/tokens")),
        {"decoder/logits": Row(("lm_head.weight",), turned=True)},
    ]
    for stack, crossed in (("encoder", False), ("decoder", True)):
        block, layer = f"{stack}/block{{}}", f"{stack}.block.{{}}.layer"
        attention, cross = f"{layer}.0.SelfAttention", f"{layer}.1.EncDecAttention"
        last = 2 if crossed else 1
        dense = f"{layer}.{last}.DenseReluDense"
        up = [f"{dense}.{name}" for name in (("wi_0", "wi_1") if gated else ("wi",))]
        qkv = [f"{attention}.{name}" for name in "qkv"]
        table = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        rows += [
            {f"{stack}/relative": Row((table,))},
            _norm(f"{block}/attention_norm", f"{layer}.0.layer_norm", bias=False),
            _linear(f"{block}/attention/qkv", *qkv, bias=False),
            _linear(f"{block}/attention/out", f"{attention}.o", bias=False),
            _norm(f"{block}/feed_forward_norm", f"{layer}.{last}.layer_norm", bias=False),
            _linear(f"{block}/feed_forward/up", *up, bias=False),
            _linear(f"{block}/feed_forward/down", f"{dense}.wo", bias=False),
            _norm(f"{stack}/last_norm", f"{stack}.final_layer_norm", bias=False),
        ]
        if crossed:
            rows += [
                _norm(f"{block}/cross_norm", f"{layer}.1.layer_norm", bias=False),
                _linear(f"{block}/cross/q", f"{cross}.q", bias=False),
                _linear(f"{block}/cross/kv", f"{cross}.k", f"{cross}.v", bias=False),
                _linear(f"{block}/cross/out", f"{cross}.o", bias=False),
            ]
    copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    return Family(
        rows=_together(rows),
        prefix="",
        # The first T5 was saved with a table that no layer of it reads.
        passed_over=r"EncDecAttention\.relative_attention_bias\.weight$",
        copies={name: "shared.weight" for name in copies},
    )


FAMILIES = {
    "gpt2": _gpt2(),
    "bert": _bert(),
    "t5": _t5(gated=False),
    "t5_gated": _t5(gated=True),  # T5 1.1: activation geglu
}
