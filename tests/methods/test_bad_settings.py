"""A setting that its method cannot work with is refused in one line, before the first step."""

import pytest
from ml_collections import ConfigDict

from research.configuration import load_config
from research.errors import InputError
from research.experiment import build

TRANSFORMER = ConfigDict(dict(name="transformer", width=16, length=64))
ENCODER_DECODER = ConfigDict(
    dict(name="encoder_decoder", width=16, input_length=16, target_length=16)
)
BAD = [
    ("ddpm.py:digits", {"method.label_dropout": 10.0}, r"label_dropout is 10.0; .* in \[0, 1\]"),
    ("edm.py:digits", {"method.label_dropout": -0.1}, r"label_dropout is -0.1; .* in \[0, 1\]"),
    ("edm.py:digits", {"method.sigma_data": 0.0}, "sigma_data is 0.0; it must be more than 0"),
    ("edm.py:digits", {"method.p_std": -1.0}, "p_std is -1.0; 0 is the least"),
    ("edm.py:digits", {"method.sigma_min": 0.0}, "sigma_min=0.0 must be in"),
    ("edm.py:digits", {"method.sigma_min": 90.0}, r"sigma_min=90.0 must be in \(0, sigma_max=80"),
    ("edm.py:digits", {"network.out_factor": 2}, "1 output channels, not 2: set its out_factor"),
    ("ddpm.py:digits", {"method.num_classes": 3}, "network has num_classes=10 and the method 3"),
    ("edm.py:digits", {"network.num_classes": 0}, "network has num_classes=0 and the method 10"),
    ("gan.py:digits", {"method.num_classes": 3}, "num_classes=10 and the method 3: leave both to"),
    ("gpt.py:shakespeare_char", {"network.causal": False}, "network.causal must be True"),
    ("mdlm.py:shakespeare_char", {"network.causal": True}, "network.causal must be False"),
    (
        "mdlm.py:shakespeare_char",
        {"network": ConfigDict(dict(name="recurrent", width=16))},
        "network.causal must be False: tokens are told from both sides",
    ),
    ("gpt.py:shakespeare_char", {"network.cross": True}, "network must read one text: no encoder"),
    ("bert.py:shakespeare", {"network": ENCODER_DECODER}, "network must read one text: no encoder"),
    ("mdlm.py:shakespeare_char", {"network": ENCODER_DECODER}, "network must read one text: no en"),
    ("t5.py:span", {"network": TRANSFORMER}, "network.name must be encoder_decoder: one text is"),
    ("t5.py:summarize", {"network": TRANSFORMER}, "network.name must be encoder_decoder: one text"),
    ("classifier.py:digits", {"network.num_classes": 9}, "9 logits for the data's 10 classes"),
    ("classifier.py:digits", {"method.num_classes": 0}, "learns labels, and the data has none"),
    ("word2vec.py:skipgram", {"method.negatives": 0}, "negatives is 0; 1 is the least"),
    ("word2vec.py:skipgram", {"network.width": 0}, "width is 0; 1 is the least"),
    ("gan.py:ring", {"network.generator.width": 0}, "width is 0; 1 is the least"),
    ("gan.py:ring", {"network.discriminator.pieces": 0}, "pieces is 0; 1 is the least"),
    ("gan.py:digits", {"network.generator.channels": (8, 0)}, "channels is 0; 1 is the least"),
    ("gan.py:digits", {"network.discriminator.channels": ()}, "channels is 0; 1 is the least"),
    ("gpt.py:shakespeare_char", {"network.product_dtype": "bf16"}, "nearest: bfloat16"),
    ("gpt.py:shakespeare_char", {"network.dropout": -0.5}, r"network.dropout is -0.5; .* \[0, 1\)"),
    ("ddpm.py:digits", {"network.dropout": 1.5}, r"network.dropout is 1.5; it must be in \[0, 1\)"),
    ("bert.py:base", {"network.dtype": "float64"}, "no network.dtype 'float64'"),
    ("bert.py:shakespeare", {"network.kv_heads": 3}, "kv_heads=3 does not divide heads="),
    ("bert.py:shakespeare", {"network.heads": 3}, "width=16 is not divided by heads=3"),
    ("bert.py:shakespeare", {"network.norm_epsilon": 0.0}, "norm_epsilon is 0.0; .* above 0"),
    ("bert.py:shakespeare", {"network.types": -1}, "types is -1; 0 is the least"),
    ("ppo.py:cartpole", {"method.discount": 1.5}, r"discount is 1.5; it must be in \[0, 1\]"),
    ("ppo.py:cartpole", {"method.decay": -0.1}, r"decay is -0.1; it must be in \[0, 1\]"),
    ("ppo.py:cartpole", {"method.clip": -0.2}, "clip is -0.2; it must be above 0, or None"),
    ("ppo.py:cartpole", {"method.kl_target": 0.0}, "kl_target is 0.0; it must be above 0, or None"),
    ("ppo.py:cartpole", {"method.kl_weight": -1.0}, "kl_weight is -1.0; 0 is the least"),
    ("ppo.py:canvas", {"environment.brush": 0.2}, "brush is 0.2; 0.5 is the least"),
    ("ppo.py:canvas", {"environment.paper": 1.5}, r"paper is 1.5; it must be in \[-1, 1\]"),
    ("in_context_regression.py:linear", {"network.tied": True}, "1 outputs need tied=False"),
    (
        "word2vec.py:glove",
        {"data.name": "word_pairs"},
        "GloVe learns from word, context, count; the data has word, context",
    ),
    (
        "t5.py:span",
        {"method": ConfigDict(dict(name="sequence_to_sequence"))},
        "SequenceToSequence learns from inputs, targets; the data has tokens, positions, segments",
    ),
    (
        "minilm.py:gloss_words",
        {"data.name": "gloss_categories"},
        "SpanExtractor learns from .* first, last; the data has .* label",
    ),
    (
        "minilm.py:gloss_categories_lora",
        {"data.name": "gloss_words", "method.classes": ("noun.animal", "noun.food")},
        "LoRA learns from .* label; the data has .* first, last",
    ),
]


@pytest.mark.parametrize(("name", "settings", "message"), BAD)
def test_bad_settings(name, settings, message):
    config = load_config(f"configs/{name}_debug")
    config.update_from_flattened_dict(settings)
    with pytest.raises(InputError, match=message):
        build(config).check()


def test_roles_that_a_vae_does_not_have():
    config = load_config("configs/vae.py:digits_debug")
    config.network = {"critic": config.network.encoder, "decoder": config.network.decoder}
    with pytest.raises(InputError, match="network has critic, decoder; allowed: encoder, decoder"):
        build(config).layout()


def test_a_method_without_the_network_that_it_needs():
    config = load_config("configs/classifier.py:digits_debug")
    config.network = {}
    with pytest.raises(InputError, match="method lacks network"):
        build(config)
