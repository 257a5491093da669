"""Weights under Hugging Face's names: transformers' own logits, exact both ways, or an error."""

import json
import struct

import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from research.errors import InputError
from research.pretrained import weights
from tests.pretrained.huggingface import GOLDEN, arrays, logits, networks, shapes

FAMILIES = ("gpt2", "bert", "t5", "t5_gated")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def save(path, found):
    safetensors.numpy.save_file(found, path)


def drawn(family, **options):
    """Random parameters in the network's tree."""
    like = shapes(family, **options)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), like)
    if family.startswith("t5"):
        params["decoder"]["tokens"] = params["encoder"]["tokens"]
    return params


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_gives_the_logits_that_transformers_gives(family, path):
    save(path, arrays(family))
    params = weights.read(path, family, shapes(family))
    np.testing.assert_allclose(logits(family, params), GOLDEN[family]["logits"], atol=2e-5)


def test_scanned_layers(path):
    save(path, arrays("gpt2"))
    params = weights.read(path, "gpt2", shapes("gpt2", scan=True))
    assert params["blocks"]["attention"]["qkv"]["kernel"].shape == (2, 8, 24)
    found = logits("gpt2", params, scan=True)
    np.testing.assert_allclose(found, GOLDEN["gpt2"]["logits"], atol=2e-5)


@pytest.mark.parametrize("options", [{}, {"scan": True}, {"tied": False}], ids=str)
@pytest.mark.parametrize("family", ["gpt2", "t5_gated"])
def test_what_is_written_is_read_bit_for_bit(family, options, path):
    check_there_and_back(family, path, drawn(family, **options))


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_the_other_families_are_read_bit_for_bit(family, path):
    check_there_and_back(family, path, drawn(family))


def check_there_and_back(family, path, params):
    weights.write(path, family, params)
    back = weights.read(path, family, params)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        (
            "bert",
            {"kv_heads": 1},
            r"qkv/kernel makes 16 channels and out reads 8: bert has 3 times",
        ),
        (
            "gpt2",
            {"activation": "swiglu"},
            r"up/kernel makes .* and down reads .*: gpt2 has 1 times",
        ),
        ("t5", {"activation": "geglu"}, r"up/kernel makes .*: t5 has 1 times"),
    ],
)
def test_products_of_other_parts_are_not_written(family, options, message, path):
    with pytest.raises(InputError, match=message):
        weights.write(path, family, drawn(family, **options))
    assert not path.exists()


@pytest.mark.parametrize(
    ("family", "options", "lacking"),
    [
        ("gpt2", {"positions": "rotary"}, ["transformer.wpe.weight"]),
        ("gpt2", {"norm": "rms"}, ["transformer.h.1.ln_2.bias", "transformer.ln_f.bias"]),
        ("gpt2", {"norm_first": False}, ["transformer.ln_f.weight"]),
        ("gpt2", {"bias": False, "scan": True}, ["transformer.h.1.mlp.c_proj.bias"]),
    ],
)
def test_what_leaves_arrays_out_is_not_written(family, options, lacking, path):
    """A reader would draw them at random."""
    with pytest.raises(InputError, match=f"{family} has .*, and these parameters do not") as raised:
        weights.write(path, family, drawn(family, **options))
    assert all(name in str(raised.value) for name in lacking)
    assert not path.exists()


def test_what_a_family_may_lack_is_not_asked_for(path):
    """BERT's body alone, but no less."""
    params = drawn("bert")
    for part in ("head", "head_norm", "logit_bias"):
        del params[part]
    check_there_and_back("bert", path, params)
    del params["types"]
    with pytest.raises(
        InputError, match=r"bert has bert\.embeddings\.token_type_emb\S+, and these"
    ):
        weights.write(path, "bert", params)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"cannot write the weights .*none/model"):
        weights.write(tmp_path / "none" / "model.safetensors", "gpt2", drawn("gpt2"))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_read_is_written_as_it_was(family, path, tmp_path):
    save(path, arrays(family))
    again = tmp_path / "again.safetensors"
    weights.write(again, family, weights.read(path, family, shapes(family)))
    found = safetensors.numpy.load_file(again)
    assert found.keys() == arrays(family).keys()
    for name, array in arrays(family).items():
        np.testing.assert_array_equal(found[name], array)
    with safetensors.safe_open(again, "numpy") as file:
        assert file.metadata() == {"format": "pt"}


def test_every_array_at_fault_is_named(path):
    found = arrays("gpt2")
    for name in ("transformer.h.1.ln_1.bias", "transformer.wpe.weight"):
        del found[name]
    found["transformer.h.2.ln_1.bias"] = found["score.weight"] = np.zeros(8, np.float32)
    found["transformer.wte.weight"] = np.zeros((11, 8), np.float32)
    found["transformer.ln_f.bias"] = np.zeros(7, np.float32)
    save(path, found)
    with pytest.raises(InputError) as raised:
        weights.read(path, "gpt2", shapes("gpt2"))
    assert str(raised.value) == (
        f"{path} does not fit this gpt2: "
        "missing transformer.h.1.ln_1.bias, transformer.wpe.weight; "
        "extra score.weight, transformer.h.2.ln_1.bias; "
        "misshapen transformer.ln_f.bias (7,), not (8,), "
        "transformer.wte.weight (11, 8), not (10, 8)"
    )


def test_each_of_what_is_fused_must_be_there_and_fit(path):
    found = arrays("bert")
    del found["bert.encoder.layer.0.attention.self.key.weight"]
    found["bert.encoder.layer.1.attention.self.value.weight"] = np.zeros((4, 8), np.float32)
    save(path, found)
    with pytest.raises(InputError, match=r"missing .*self\.key.*; misshapen .*self\.value.* \(4, "):
        weights.read(path, "bert", shapes("bert"))


def test_what_a_file_may_have_besides(path):
    """A bare body's names, the mask's buffers, a copy of the embeddings, a pooler."""
    gpt2 = {name.removeprefix("transformer."): array for name, array in arrays("gpt2").items()}
    gpt2["h.0.attn.bias"] = np.ones((1, 1, 8, 8), np.float32)
    gpt2["lm_head.weight"] = gpt2["wte.weight"]
    save(path, gpt2)
    params = weights.read(path, "gpt2", shapes("gpt2"))
    np.testing.assert_allclose(logits("gpt2", params), GOLDEN["gpt2"]["logits"], atol=2e-5)

    bert = arrays("bert") | {"bert.pooler.dense.bias": np.zeros(8, np.float32)}
    bert["bert.embeddings.position_ids"] = np.arange(8)[None]
    first = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): a for name, a in bert.items()}
    save(path, first)
    params = weights.read(path, "bert", shapes("bert"))
    np.testing.assert_allclose(logits("bert", params), GOLDEN["bert"]["logits"], atol=2e-5)
    body = networks("bert")[""].clone(head=False)
    assert "head" not in weights.read(path, "bert", weights.shapes(body))

    unread = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    save(path, arrays("t5") | {unread: np.zeros((4, 2), np.float32)})
    params = weights.read(path, "t5", shapes("t5"))
    np.testing.assert_allclose(logits("t5", params), GOLDEN["t5"]["logits"], atol=2e-5)


def test_a_copy_that_differs(path):
    found = arrays("gpt2")
    save(path, found | {"lm_head.weight": found["transformer.wte.weight"] + 1})
    with pytest.raises(InputError, match=r"differing lm_head\.weight is not transformer\.wte\.w"):
        weights.read(path, "gpt2", shapes("gpt2"))
    params = weights.read(path, "gpt2", shapes("gpt2", tied=False))
    np.testing.assert_array_equal(params["logits"], found["transformer.wte.weight"].T + 1)
    tables = drawn("t5")
    tables["decoder"]["tokens"] = tables["decoder"]["tokens"] + 1
    with pytest.raises(InputError, match=r"tokens differs from its other copy.* shared\.weight"):
        weights.write(path, "t5", tables)


def test_other_files(path, tmp_path):
    with pytest.raises(InputError, match="cannot read the weights"):
        weights.read(tmp_path / "none.safetensors", "gpt2", shapes("gpt2"))
    save(path, arrays("gpt2"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"no whole \.safetensors file"):
        weights.read(path, "gpt2", shapes("gpt2"))
    header = json.dumps({"a": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"12")
    with pytest.raises(InputError, match="has a F8_E4M3; read are F64, F32"):
        weights.read(path, "gpt2", shapes("gpt2"))
    with pytest.raises(InputError, match="no family of weights 'gpt'; nearest: gpt2"):
        weights.read(path, "gpt", shapes("gpt2"))
    with pytest.raises(InputError, match="gpt2 has no parameter like block0/attention/qkv/a"):
        weights.write(path, "gpt2", {"block0": {"attention": {"qkv": {"a": np.zeros(1)}}}})
    with pytest.raises(InputError, match="gpt2 has no parameter like types"):
        save(path, arrays("gpt2"))
        weights.read(path, "gpt2", shapes("gpt2", types=2))
    assert not (tmp_path / "none.safetensors").exists()


def test_bfloat16_is_read_as_float32(path):
    import ml_dtypes

    halves = {name: array.astype(ml_dtypes.bfloat16) for name, array in arrays("gpt2").items()}
    save(path, halves)
    params = weights.read(path, "gpt2", shapes("gpt2"))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    wide = arrays("gpt2")["transformer.wte.weight"].astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(params["tokens"], wide.astype(np.float32))
