"""Networks and methods by name, and what a config's section makes of a name."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from kernels.dispatch import DTYPES
from research.configuration import check_arguments
from research.errors import InputError, check_choice, nearest
from research.methods.classifier import Classifier
from research.methods.diffusion import Diffusion
from research.methods.edm import EDM
from research.methods.gan import GAN
from research.methods.language_model import LanguageModel
from research.methods.masked_diffusion import MaskedDiffusion
from research.methods.masked_language_model import MaskedLanguageModel
from research.methods.ppo import PPO
from research.methods.sequence_tasks import (
    AnswerClassification,
    SequenceRegression,
    StepClassification,
    StepRegression,
)
from research.methods.sequence_to_sequence import SequenceToSequence
from research.methods.span_corruption import SpanCorruption
from research.methods.span_extractor import SpanExtractor
from research.methods.text_classifier import TextClassifier
from research.methods.vae import VAE
from research.methods.word_embeddings import GloVe, SkipGram
from research.networks.actor_critic import ActorCritic
from research.networks.conv_autoencoder import ConvDecoder, ConvEncoder
from research.networks.convnet import ConvNet
from research.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from research.networks.encoder_decoder import EncoderDecoder
from research.networks.maxout import BatchNormGenerator, MaxoutDiscriminator
from research.networks.mlp import MLP, MLPDecoder, MLPEncoder
from research.networks.painter import Painter
from research.networks.recurrent import Recurrent
from research.networks.temporal_convolution import TCN
from research.networks.transformer import Transformer
from research.networks.unet import UNet
from research.networks.word_vectors import WordVectors
from research.training.method import Method

NETWORKS: dict[str, Callable[..., Any]] = {
    "unet": UNet,
    "convnet": ConvNet,
    "conv_encoder": ConvEncoder,
    "conv_decoder": ConvDecoder,
    "dcgan_generator": DCGANGenerator,
    "dcgan_discriminator": DCGANDiscriminator,
    "batch_norm_generator": BatchNormGenerator,
    "maxout_discriminator": MaxoutDiscriminator,
    "mlp": MLP,
    "mlp_encoder": MLPEncoder,
    "mlp_decoder": MLPDecoder,
    "actor_critic": ActorCritic,
    "painter": Painter,
    "transformer": Transformer,
    "encoder_decoder": EncoderDecoder,
    "recurrent": Recurrent,
    "tcn": TCN,
    "word_vectors": WordVectors,
}
METHODS: dict[str, Callable[..., Method]] = {
    "classifier": Classifier,
    "diffusion": Diffusion,
    "edm": EDM,
    "gan": GAN,
    "language_model": LanguageModel,
    "masked_diffusion": MaskedDiffusion,
    "masked_language_model": MaskedLanguageModel,
    "vae": VAE,
    "ppo": PPO,
    "sequence_to_sequence": SequenceToSequence,
    "span_corruption": SpanCorruption,
    "span_extractor": SpanExtractor,
    "sequence_regression": SequenceRegression,
    "step_classification": StepClassification,
    "step_regression": StepRegression,
    "answer_classification": AnswerClassification,
    "text_classifier": TextClassifier,
    "skip_gram": SkipGram,
    "glove": GloVe,
}


def network(config: ConfigDict, section: str, *, given: Mapping[str, Any]) -> Any:
    """The network of a section.

    Raises:
      InputError: as `choose`, or a dtype or a dropout that no network can have.
    """
    for key in ("dtype", "product_dtype"):
        if config.get(key) is not None:
            check_choice(f"{section}.{key}", config[key], DTYPES)
    made = choose(NETWORKS, config, section, given=given)
    if not 0 <= config.get("dropout", 0) < 1:
        raise InputError(f"{section}.dropout is {config.dropout}; it must be in [0, 1)")
    return made


def choose(
    registry: Mapping[str, Callable[..., Any]],
    config: ConfigDict,
    section: str,
    *,
    given: Mapping[str, Any] | None = None,
) -> Any:
    """What `config.name` names, made with the other keys as its arguments."""
    arguments = dict(config)
    name = arguments.pop("name", None)
    if name not in registry:
        raise InputError(f"{section}.name={name!r} is unknown; {nearest(str(name), registry)}")
    return construct(registry[name], arguments, section, given=given)


def construct(
    make: Callable[..., Any],
    arguments: ConfigDict | dict[str, Any],
    section: str,
    *,
    given: Mapping[str, Any] | None = None,
) -> Any:
    """`make(**arguments)`, with those of `given` that it takes.

    Raises:
      InputError: as `check_arguments`.
    """
    taken = inspect.signature(make).parameters
    fitting = {name: value for name, value in (given or {}).items() if name in taken}
    check_arguments(functools.partial(make, **fitting), dict(arguments), section)
    return make(**fitting | dict(arguments))
