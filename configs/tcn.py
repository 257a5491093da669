"""Sequence tasks of long memory, by the TCN and by recurrent networks (1803.01271).

    python -m launch.train --config=configs/tcn.py:adding_tcn --workdir=runs/adding_tcn
    python -m launch.evaluate --workdir=runs/adding_tcn

TASK_NETWORK, where TASK is adding (the sum of two marked numbers of 600), copy (ten symbols,
repeated 1000 steps later) or mnist (a digit read pixel by pixel), NETWORK is tcn, lstm, gru or rnn.
Each has a `_debug` form of two steps. Times are in papers/tcn/README.md: minutes for adding_tcn, up
to an hour of one core for the others, three and a half for mnist by a recurrent network.
"""

from typing import Any

from ml_collections import ConfigDict

from research.configuration import split_variant

BATCH_SIZE = 32
# The networks of a task have about as many parameters: 70,000, and 11,000 to 12,500 for copying.
NETWORKS: dict[str, dict[str, dict[str, Any]]] = {
    "adding": {
        "tcn": dict(name="tcn", width=24, levels=8, kernel_size=8),
        "lstm": dict(name="recurrent", cell="lstm", width=130),
        "gru": dict(name="recurrent", cell="gru", width=151),
        "rnn": dict(name="recurrent", cell="rnn", width=262),
    },
    "copy": {
        "tcn": dict(name="tcn", width=10, levels=8, kernel_size=8, dropout=0.05),
        "lstm": dict(name="recurrent", cell="lstm", width=50),
        "gru": dict(name="recurrent", cell="gru", width=58),
        "rnn": dict(name="recurrent", cell="rnn", width=100),
    },
    "mnist": {
        "tcn": dict(name="tcn", width=25, levels=8, kernel_size=7, dropout=0.05),
        "lstm": dict(name="recurrent", cell="lstm", width=130),
        "gru": dict(name="recurrent", cell="gru", width=151),
        "rnn": dict(name="recurrent", cell="rnn", width=262),
    },
}
CLIP_NORMS = {"adding": 5.0, "copy": 1.0, "mnist": 1.0}  # of recurrent networks alone
VARIANTS = {
    f"{task}_{network}": (task, network)
    for task, networks in NETWORKS.items()
    for network in networks
}
DEBUG = {
    "steps": 2,
    "steps_per_execution": 1,
    "data.batch_size": 8,
    "network.width": 4,
    "optimizer.accumulate": 1,
    "checkpoint.every_steps": 1,
    "log.every_steps": 1,
}


def get_config(variant: str = "adding_tcn") -> ConfigDict:
    """`adding_tcn`, `copy_lstm` and so on; `VARIANT_debug` is the same in miniature."""
    name, is_debug = split_variant(variant, VARIANTS, __file__)
    task, network = VARIANTS[name]
    config = {"adding": adding, "copy": copy, "mnist": mnist}[task](NETWORKS[task][network])
    if network != "tcn":
        config.optimizer.clip_norm = CLIP_NORMS[task]
    if is_debug:
        config.update_from_flattened_dict(DEBUG)
        if "length" in config.data:
            config.data.length = 20
        if network == "tcn":
            config.network.levels = 2
    return config


def adding(network: dict[str, Any]) -> ConfigDict:
    """Ten epochs of 50,000 examples; Adam at 4e-3."""
    return ConfigDict(
        dict(
            seed=0,
            steps=10 * 50_000 // BATCH_SIZE,
            steps_per_execution=5,
            data=dict(name="adding", batch_size=BATCH_SIZE, length=600),
            network=network,
            method=dict(name="sequence_regression"),
            optimizer=dict(name="adam", learning_rate=4e-3, accumulate=1),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            checkpoint=dict(every_steps=1000, keep=1),
            log=dict(every_steps=100),
            sample=dict(every_steps=0, count=0),
            evaluate=dict(count=0, batch_size=100),
        )
    )


def copy(network: dict[str, Any]) -> ConfigDict:
    """50 epochs of 10,000 examples; PyTorch's RMSprop at 5e-4."""
    config, batch_size = adding(network), BATCH_SIZE // parts(network)
    config.update(steps=50 * 10_000 // batch_size)
    config.data.update(name="copy_memory", batch_size=batch_size, length=1000)
    config.method.name = "step_classification"
    config.optimizer.update(name="rmsprop", learning_rate=5e-4, b2=0.99, accumulate=parts(network))
    return config


def mnist(network: dict[str, Any]) -> ConfigDict:
    """20 epochs of 60,000 digits in batches of 64; Adam at 2e-3, a tenth of it from the 11th on."""
    config, batch_size = adding(network), 64 // parts(network)
    config.update(steps=20 * 60_000 // batch_size)
    config.data = ConfigDict(dict(name="sequential_mnist", batch_size=batch_size))
    config.method.name = "answer_classification"
    config.optimizer.update(
        learning_rate=2e-3, drops=[(10 * 60_000 // batch_size, 0.1)], accumulate=parts(network)
    )
    return config


def parts(network: dict[str, Any]) -> int:
    """A TCN's long batch is made of four that a core's cache holds: 0.3 to 0.75 of the time."""
    return 4 if network["name"] == "tcn" else 1
