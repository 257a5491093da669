"""LoRA: low-rank adapters beside frozen weights, W + (alpha / r) A B (2106.09685, equation 3)."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct, traverse_util

from research.data.examples import Dataset
from research.errors import InputError, check_least
from research.training.method import (
    Aux,
    LatentVariable,
    Method,
    Objective,
    TextRanker,
    TextWriter,
)
from research.training.optimizers import averaged, matching
from research.training.patterns import check_expressions
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Params, Rng, Scalar


def of_merged(name: str) -> Any:
    """The method's own `name`, with its options, of the merged state."""

    def own(self: "LoRA") -> Callable[..., Any]:
        function = getattr(self.method, name)

        @functools.wraps(function)
        def merged(state: TrainState, *arguments: Any, **options: Any) -> Any:
            return function(self.merged(state), *arguments, **options)

        return merged

    return property(own)


class LoRA(Method):
    """Another method of the one group `model`, of which only adapters are learned.

    Its parameters are the groups `base`, frozen, and `adapters`. A step makes the adapted weights
    and gives them to the method: what is applied is always merged, and as fast as the method's own.

    Args:
      rank, alpha: the factors' inner dimension, and the scale alpha / rank of their product.
      adapted: kernels whose path, as `encoder/block0/attention/qkv/kernel`, matches get factors;
        None adapts none. They are named `kernel/a` and `kernel/b`, so that an optimizer's default
        `decayed` leaves them out.
      trained: parameters whose path matches are learned whole, as a new last layer must be.

    Raises:
      InputError: the rank or the scale is none; from `init_params`, a pattern matches nothing, or
        no kernel, or the method has other groups, or steps of its own.
    """

    evaluate, sample = of_merged("evaluate"), of_merged("sample")

    def __init__(
        self,
        *,
        method: Method,
        rank: int = 8,
        alpha: float = 16.0,
        adapted: str | None = r"kernel$",
        trained: str | None = None,
    ):
        check_least(1, **{"lora.rank": rank})
        if adapted is None and trained is None:
            raise InputError("lora learns nothing: lora.adapted or lora.trained must be a pattern")
        if not alpha > 0:
            raise InputError(f"lora.alpha is {alpha}; it must be above 0")
        for option, expression in (("lora.adapted", adapted), ("lora.trained", trained)):
            check_expressions(option, [] if expression is None else [expression])
        self.method = method
        self.alarms, self.num_classes = method.alarms, method.num_classes
        self.fields = method.fields
        self.rank = rank
        self.scale = alpha / rank
        self.adapted = adapted
        self.trained = trained

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        groups = self.method.init_params(rng, batch)
        if groups.keys() != {"model"}:
            raise InputError(f"lora adapts the one group 'model', the method has {list(groups)}")
        if type(self.method).step is not Method.step:
            raise InputError("lora adapts methods that learn by gradients of a batch alone")
        base, adapters = split(
            groups["model"],
            named(rng, "adapters"),
            rank=self.rank,
            adapted=self.adapted,
            trained=self.trained,
        )
        return {"base": base, "adapters": adapters}

    def init_extra(self, rng: Rng) -> dict[str, Any]:
        return self.method.init_extra(rng)

    def objectives(self) -> Sequence[Objective]:
        (objective,) = self.method.objectives()

        def loss(adapters: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
            state = self.with_merged(state, adapters)
            return objective.loss(state.params["model"], state, batch, rng)

        return [dataclasses.replace(objective, group="adapters", loss=loss)]

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        return self.method.trivial(train, test)

    def merged(self, state: TrainState) -> TrainState:
        """The method's own state, of averaged adapters: it needs no adapters any more."""
        return self.with_merged(state, averaged(state, "adapters"))

    def with_merged(self, state: TrainState, adapters: Params) -> TrainState:
        model = merge(state.params["base"], adapters, scale=self.scale)
        return dataclasses.replace(state, params={"model": model}, opt_state={})


class WriterLoRA(LoRA, TextWriter):
    """Of a method that writes text."""

    stream = of_merged("stream")


class RankerLoRA(WriterLoRA, TextRanker):
    """Of one that also says how likely a text is."""

    method: TextRanker
    log_likelihoods = of_merged("log_likelihoods")

    def sees_all(self, prompt: str, text: str) -> bool:
        return self.method.sees_all(prompt, text)


class LatentLoRA(LoRA, LatentVariable):
    """Of one with a latent space."""

    encode, decode = of_merged("encode"), of_merged("decode")


def lora_of(method: Method) -> type[LoRA]:
    """The adapters' class that is all that the method is."""
    kinds = {TextRanker: RankerLoRA, TextWriter: WriterLoRA, LatentVariable: LatentLoRA}
    return next((own for kind, own in kinds.items() if isinstance(method, kind)), LoRA)


@struct.dataclass
class Factors:
    """A (..., I, r) and B (..., r, O) of a kernel (..., I, O), whose first axes are layers."""

    a: Any
    b: Any


def split(
    params: Params, rng: Rng, *, rank: int, adapted: str | None, trained: str | None
) -> tuple[Params, Params]:
    """A frozen base and its adapters: `Factors` of what is adapted, and what is trained itself.

    A starts from N(0, 1 / I) and B at zero, so that the adapted weights start at the base's.

    Raises:
      InputError: a pattern matches nothing, or what is to be adapted is no kernel.
    """
    base = traverse_util.flatten_dict(params, keep_empty_nodes=True)
    adapters: dict[tuple[str, ...], Any] = {
        path: base.pop(path) for path in matched(params, trained, "trained")
    }
    for path in matched(params, adapted, "adapted"):
        if path in adapters:
            raise InputError(f"{'/'.join(path)} matches both lora.adapted and lora.trained")
        adapters[path] = factors(base[path], named(rng, "/".join(path)), rank, "/".join(path))
    return traverse_util.unflatten_dict(base), traverse_util.unflatten_dict(adapters)


def factors(kernel: Any, rng: Rng, rank: int, name: str) -> Factors:
    if kernel.ndim < 2:
        raise InputError(f"lora.adapted matches {name}, which is no kernel: it is {kernel.shape}")
    *layers, inputs, outputs = kernel.shape
    a = jax.random.normal(rng, (*layers, inputs, rank), kernel.dtype) / jnp.sqrt(inputs)
    return Factors(a, jnp.zeros((*layers, rank, outputs), kernel.dtype))


def matched(params: Params, pattern: str | None, option: str) -> list[tuple[str, ...]]:
    """The paths that match; raises InputError where a pattern matches none."""
    if pattern is None:
        return []
    flat = traverse_util.flatten_dict(matching(pattern, params))
    found = [path for path, is_match in flat.items() if is_match]
    if not found:
        raise InputError(
            f"lora.{option}={pattern!r} matches no parameter; "
            f"there are {', '.join('/'.join(path) for path in flat)}"
        )
    return found


def merge(base: Params, adapters: Params, *, scale: float) -> Params:
    """The weights W + scale A B, and those trained whole, in the tree that was split."""
    merged = traverse_util.flatten_dict(base, keep_empty_nodes=True)
    for path, own in traverse_util.flatten_dict(adapters).items():
        if isinstance(own, Factors):
            product = jnp.matmul(own.a, own.b, precision=jax.lax.Precision.HIGHEST)
            own = merged[path] + scale * product
        merged[path] = own
    return traverse_util.unflatten_dict(merged)


def count(params: Params) -> int:
    """How many numbers there are."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
