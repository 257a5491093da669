"""The TCN paper's claims: what each network reaches on adding, copying and sequential MNIST."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from papers import trained
from papers.ledger import Claim
from papers.rules import Measurement, Rule, at_most, identity, ordered, violated
from research.data.examples import Dataset
from research.data.sequence_tasks import REMEMBERED
from research.run import plain

# Table 1: the losses at T = 600 and 1000.
FIGURES = {
    "adding": {"tcn": 5.8e-5, "gru": 5.3e-5, "lstm": 0.164, "rnn": 0.177},
    "copy": {"tcn": 3.5e-5, "gru": 0.0197, "lstm": 0.0204, "rnn": 0.0202},
}
# A trivial predictor's own figure over one test set of 1000 is off by 4% (one s.e.) on the adding
# problem: the paper's five losses near a trivial one lie within 6.2%.
TOLERANCE = 0.07
# A broken network learns no task, and one that remembers a step alone knows when to answer. That
# ours can learn is seen on adding of five numbers: who sees the last alone learns away a fifth of
# always 1's error.
FEW = {"data.length": 5, "steps": 1500}
LEARNED = 0.5
ACCURACIES = {"tcn": 99.0, "gru": 96.2, "lstm": 87.2, "rnn": 21.5}  # %, of sequential MNIST
MNIST_EPOCHS = 2  # of 20: 22 minutes of a core for the slowest
NAMES = {"tcn": "The TCN", "gru": "The GRU", "lstm": "The LSTM", "rnn": "The plain RNN"}


def constant_loss(test: Dataset) -> float:
    """The squared error of the adding problem's mean, 1, on these examples: 1/6 expected."""
    return float(np.mean((test.arrays()["target"] - 1) ** 2))


def memoryless_loss(length: int) -> float:
    """Nats a step of who knows when to answer but not what: 10 ln 8 / (T + 20)."""
    return REMEMBERED * math.log(8) / (length + 2 * REMEMBERED)


def measure(seed: int, *, task: str, network: str) -> Measurement:
    """The test loss of a trained network, the trivial predictor's, and their ratio."""
    made = trained.config(f"configs/tcn.py:{task}_{network}", seed=seed)
    experiment, state = trained.trained(made, f"{task}_{network}-seed{seed}")
    loss = trained.test_metrics(experiment, state, batch_size=100)["loss"]
    if task == "copy":
        trivial = memoryless_loss(made.data.length)
    else:
        trivial = constant_loss(experiment.test_data)
    found = {"loss": loss, "trivial_loss": trivial, "share_of_trivial": loss / trivial}
    return found | ({} if learns(task, network) else learned_of_few(seed, network))


def learned_of_few(seed: int, network: str) -> dict[str, float]:
    """How much of always 1's error the adding network learns away where there are FEW numbers."""
    made = trained.config(f"configs/tcn.py:adding_{network}", seed=seed, overrides=FEW)
    experiment, state = trained.trained(made, f"adding_{network}-few-seed{seed}")
    loss = trained.test_metrics(experiment, state, batch_size=100)["loss"]
    return {"learned_of_few": 1 - loss / constant_loss(experiment.test_data)}


def learns(task: str, network: str) -> bool:
    """Whether the paper's network does."""
    return FIGURES[task][network] < 1e-3


PROTOCOLS = {
    "adding": "T = 600, 50,000 training and 1000 test examples, 10 epochs of batches of 32, Adam "
    "at 4e-3; trivial: always 1, expected 1/6. ",
    "copy": "T = 1000, 10,000 training and 1000 test examples, 50 epochs of batches of 32, RMSprop "
    "at 5e-4; trivial: uniform over the 8 symbols where asked, 10 ln 8 / (T + 20). ",
}
CONTROL = (
    f" On adding of {FEW['data.length']} numbers, in {FEW['steps']} steps, the network with the "
    "adding problem's width learns away half of the trivial error."
)
NETWORKS = {
    ("adding", "tcn"): "8 levels, 8 taps, 24 channels.",
    ("adding", "lstm"): "130 cells, gradients clipped to norm 5, forget bias 1.",
    ("adding", "gru"): "151 cells for the LSTM's number of parameters, clipped to 5.",
    ("adding", "rnn"): "262 cells for the LSTM's number of parameters, clipped to 5.",
    ("copy", "tcn"): "8 levels, 8 taps, 10 channels, dropout 0.05.",
    ("copy", "lstm"): "50 cells, gradients clipped to norm 1, forget bias 1.",
    ("copy", "gru"): "58 cells for the LSTM's number of parameters, clipped to 1.",
    ("copy", "rnn"): "100 cells for the LSTM's number of parameters, clipped to 1.",
}


def claim(task: str, network: str) -> Claim:
    """A network learns the task as well as in the paper, or is no better than the trivial one."""
    what = {"adding": "the adding problem", "copy": "copying"}[task]
    does = "learns" if learns(task, network) else "does not learn"
    controlled = not learns(task, network)
    settings = {"config": plain(trained.config(f"configs/tcn.py:{task}_{network}"))}
    return Claim(
        id=f"tcn.{task}_{network}",
        statement=f"{NAMES[network]} {does} {what}.",
        source="table 1",
        figure=f"loss {FIGURES[task][network]:g} [V]",
        figures={"loss": FIGURES[task][network]},
        kind="exact",
        protocol=PROTOCOLS[task] + NETWORKS[task, network] + (CONTROL if controlled else ""),
        measure=functools.partial(measure, task=task, network=network),
        rules=rules(task, network),
        ours=["loss", "learned_of_few"] if controlled else ["loss"],
        baseline=["trivial_loss"],
        settings=settings | {"few": FEW} if controlled else settings,
    )


def rules(task: str, network: str) -> list[Rule]:
    if learns(task, network):
        return [at_most("loss", FIGURES[task][network]), ordered("loss", "trivial_loss")]
    trivial = identity("share_of_trivial", 1, tolerance=TOLERANCE)
    can_learn = violated("learned_of_few", least=LEARNED)
    return [trivial, can_learn]


def measure_mnist(seed: int, *, epochs: int, networks: Sequence[str]) -> Measurement:
    """The test accuracy of each network in %, its share of errors, and the trivial accuracy."""
    found = {}
    for network in networks:
        made = mnist_config(network, epochs=epochs, seed=seed)
        experiment, state = trained.trained(made, f"mnist_{network}-{epochs}epochs-seed{seed}")
        metrics = trained.test_metrics(experiment, state, batch_size=100)
        found[f"{network}_accuracy"] = 100 * metrics["accuracy"]
        found[f"{network}_errors"] = 100 - found[f"{network}_accuracy"]
    trivial = experiment.method.trivial(experiment.train_data, experiment.test_data)
    return found | {"majority_accuracy": 100 * trivial["accuracy"]["majority"]}


def mnist_config(network: str, *, epochs: int, seed: int = 0) -> ConfigDict:
    """The first `epochs` of the network's 20."""
    made = trained.config(f"configs/tcn.py:mnist_{network}", seed=seed)
    made.steps = made.steps * epochs // 20
    return made


def mnist_claim(id: str, *, epochs: int, networks: Sequence[str], **rest: Any) -> Claim:
    of_networks = {network: ACCURACIES[network] for network in networks}
    return Claim(
        id=id,
        source="table 1",
        figure=f"accuracy {', '.join(f'{n} {x:g}' for n, x in of_networks.items())} [V]",
        figures={f"{network}_accuracy": value for network, value in of_networks.items()},
        protocol="784 pixels less 0.1307 over 0.3081, the class from the last step; "
        f"{epochs} epochs (theirs 20) of 60,000 in batches of 64, Adam at 2e-3, a tenth from epoch "
        "11; the TCN of 8 levels, 7 taps, 25 channels and dropout 0.05, the others with as many "
        "parameters, clipped to 1; trivial: the most frequent digit.",
        measure=functools.partial(measure_mnist, epochs=epochs, networks=networks),
        ours=[f"{network}_accuracy" for network in networks],
        baseline=["majority_accuracy"],
        settings={n: plain(mnist_config(n, epochs=epochs)) for n in networks},
        **rest,
    )


CLAIMS = [
    *(claim(task, network) for task, networks in FIGURES.items() for network in networks),
    mnist_claim(
        "tcn.mnist_tcn",
        epochs=20,
        networks=["tcn"],
        statement="The TCN reads MNIST pixel by pixel and tells 99.0% of the digits.",
        kind="exact",
        rules=[at_most("tcn_errors", 1.0), ordered("majority_accuracy", "tcn_accuracy")],
    ),
    mnist_claim(
        "tcn.sequential_mnist",
        epochs=MNIST_EPOCHS,
        networks=list(ACCURACIES),
        statement="On MNIST read pixel by pixel the TCN is the most accurate, the RNN the least.",
        kind="direction",
        rules=[
            *(ordered(f"{other}_accuracy", "tcn_accuracy") for other in ("gru", "lstm")),
            *(ordered("rnn_accuracy", f"{other}_accuracy") for other in ("gru", "lstm")),
        ],
    ),
]
