"""A step for four chips that are not here, by their compiler: kernels share the batch."""

import re

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from kernels.machine import compiled_for
from research.configuration import load_config
from research.experiment import build
from research.training.execution import compiled_step, state_layout
from research.training.sharding import AXES

HEADS, SIZE = 4, 64


@pytest.mark.aot
def test_a_tpus_compiler_takes_a_step_of_four_chips():
    """Each has 2 of 8 sequences; parameters are split over two."""
    from jax.experimental import topologies

    config = load_config("configs/gpt.py:124m_debug")
    config.network.update(width=HEADS * SIZE, heads=HEADS)
    config.data.batch_size = 8
    experiment = build(config)
    chips = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices
    mesh = Mesh(np.array(chips).reshape(2, 2, 1), AXES, axis_types=(AxisType.Auto,) * 3)
    with compiled_for("tpu-v5e"):
        example = experiment.example()
        layout = state_layout(experiment.method, example=example, mesh=mesh, rules=experiment.rules)
        step = compiled_step(experiment.method, mesh, layout)
        text = step.lower(layout, example, jax.random.key(0)).compile().as_text()
    shapes = re.findall(r"%attention_forward\S* = \(bf16\[([\d,]+)\]", text)
    assert shapes and all(shape.split(",")[:2] == ["2", str(HEADS)] for shape in shapes)
    assert "%normalization_backward" in text and "%attention_keys_gradient" in text
