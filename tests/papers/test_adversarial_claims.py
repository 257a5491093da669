"""A wrong adversarial game fails its claim; PacGAN's protocol is the method's own game."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers import ledger
from papers.gan import claims as gan
from papers.pacgan import claims as pacgan
from papers.pacgan import protocol
from papers.wgan_gp import claims as wgan_gp
from research.data.mixtures import MIXTURES
from research.evaluation.modes import mode_scores
from research.methods import gan as method
from research.methods.gan_losses import non_saturating, saturating
from research.training.method import play
from research.training.state import sha256
from tests.papers.verdicts import verdict


def test_a_discriminator_that_takes_fakes_for_real(monkeypatch):
    assert verdict("gan.optimum") == "REPRODUCED"
    swapped = saturating()._replace(real=saturating().fake, fake=saturating().real)
    monkeypatch.setattr(gan, "saturating", lambda: swapped)
    assert verdict("gan.optimum") == "FAILED"


def test_a_generator_loss_that_saturates(monkeypatch):
    assert verdict("gan.non_saturating") == "REPRODUCED"
    monkeypatch.setattr(gan, "non_saturating", saturating)
    assert verdict("gan.non_saturating") == "FAILED"


def test_a_generator_loss_that_leads_away_where_the_discriminator_is_unsure(monkeypatch):
    cost = non_saturating().generator
    turned = non_saturating()._replace(
        generator=lambda logits: jnp.where(logits < -4, cost(logits), -cost(logits))
    )
    monkeypatch.setattr(gan, "non_saturating", lambda: turned)
    assert verdict("gan.non_saturating", seeds=2) == "FAILED"


def test_a_penalty_on_the_squared_norm(monkeypatch):
    assert verdict("wgan_gp.linear") == "REPRODUCED"

    def wrong(score, real, fake, rng):
        norms = jnp.sum(wgan_gp.gradients(score, real) ** 2, axis=1)
        return jnp.mean((norms - 1) ** 2)

    monkeypatch.setattr(wgan_gp, "gradient_penalty", wrong)
    assert verdict("wgan_gp.linear") == "FAILED"


@pytest.fixture
def fewer_points(monkeypatch):
    """Points that critics learn in fewer steps, neither kept from before nor for later."""
    monkeypatch.setattr(wgan_gp, "POINTS", 128)
    wgan_gp.samples.cache_clear()
    yield
    wgan_gp.samples.cache_clear()


@pytest.mark.parametrize(("steps", "expected"), [(2000, "DIRECTION HOLDS"), (5, "FAILED")])
def test_a_critic_that_has_not_learned(monkeypatch, fewer_points, steps, expected):
    monkeypatch.setattr(wgan_gp, "STEPS", steps)
    assert verdict("wgan_gp.critic") == expected


def test_exact_transport_of_a_shift():
    """Every point is matched with its own copy."""
    real = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    order = np.random.default_rng(1).permutation(30)
    distance, matched = wgan_gp.transport(real + np.float32([0.003, 0.004]), real[order])
    assert distance == pytest.approx(0.005, rel=1e-3)
    np.testing.assert_allclose(matched - real[order], [[0.003, 0.004]] * 30, atol=1e-6)


def by_turns(objectives, state, batch, rng):
    logged = {}
    for objective in objectives:
        state, _ = play(objective, state, batch, rng)
    return state, logged


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("play_together", by_turns),
        ("r1", lambda score, real: 2 * original_r1(score, real)),
    ],
)
def test_a_wrong_game_has_other_eigenvalues(monkeypatch, name, wrong):
    monkeypatch.setattr(method, name, wrong)
    assert verdict("dirac_gan.eigenvalues") == "FAILED"


original_r1 = method.r1


def test_the_games_as_they_are():
    assert verdict("dirac_gan.eigenvalues") == "REPRODUCED"
    assert verdict("dirac_gan.convergence") == "DIRECTION HOLDS"


def test_a_regularizer_that_does_nothing_does_not_converge(monkeypatch):
    monkeypatch.setattr(method, "r1", lambda score, real: 0.0)
    assert verdict("dirac_gan.convergence") == "FAILED"


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The protocol in miniature."""
    small = {
        "EXAMPLES": 40,
        "BATCH": 10,
        "SAMPLES": 20,
        "RUNS": tmp_path,
        "GENERATOR": {"width": 8, "layers": 2},
        "DISCRIMINATOR": {"width": 6, "layers": 2, "pieces": 3},
    }
    for name, value in small.items():
        monkeypatch.setattr(protocol, name, value)
    protocol.history.cache_clear()
    yield tmp_path
    protocol.history.cache_clear()


@pytest.mark.parametrize("packing", [1, 3])
def test_the_protocols_step_is_the_methods(small, packing):
    made = protocol.Row("grid", packing, epochs=1).method
    state = jax.jit(functools.partial(protocol.start, made))(jax.random.key(0))
    # Narrow first weights give logits of 0, where real and fake cancel to rounding errors.
    state = dataclasses.replace(state, params=jax.tree.map(lambda leaf: 20 * leaf, state.params))
    real = jax.random.normal(jax.random.key(1), (10, 2 * packing))
    rng = jax.random.key(2)
    found = jax.jit(functools.partial(protocol.step, made))(state, real, rng)
    expected, _ = jax.jit(made.step)(state, {"point": real.reshape(-1, 2)}, rng)

    def check(one, other):
        assert np.linalg.norm(one - other) <= 1e-4 * np.linalg.norm(other) + 1e-12

    # Adam's first step is the gradient's sign: its moments tell more.
    jax.tree.map(check, found.extra, expected.extra)
    jax.tree.map(check, found.opt_state, expected.opt_state)


def test_a_stopped_measurement_goes_on_where_it_was(small):
    row, seeds = protocol.Row("ring", 2, epochs=3), (0, 1)
    whole = protocol.history(row, seeds)
    assert whole.shape == (3, 2, 3)
    (path,) = small.glob("*.npz")
    final = sha256(dict(np.load(path)))
    path.unlink()

    protocol.history.cache_clear()
    first = protocol.history(dataclasses.replace(row, epochs=1), seeds)
    np.testing.assert_array_equal(first, whole[:1])
    protocol.history.cache_clear()
    np.testing.assert_array_equal(protocol.history(row, seeds), whole)
    assert sha256(dict(np.load(path))) == final
    protocol.history.cache_clear()
    again = protocol.history(dataclasses.replace(row, epochs=1), seeds)
    np.testing.assert_array_equal(again, first)
    assert sha256(dict(np.load(path))) == final


def test_seeds_are_measured_alone_though_trained_together(small):
    row = protocol.Row("ring", 1, epochs=1)
    both = protocol.history(row, (0, 1))
    for seed in (0, 1):
        np.testing.assert_array_equal(protocol.history(row, (seed,))[:, 0], both[:, seed])


def test_packs_draw_their_places_apart(small):
    packs = protocol.training_packs(protocol.Row("grid", 2, epochs=1), seed=0)
    one, other = (
        {tuple(x) for x in packs[:, :2].tolist()},
        {tuple(x) for x in packs[:, 2:].tolist()},
    )
    assert packs.shape == (40, 4) and one & other and one != other
    assert len(one) < 40  # with replacement


def measurements(**modes):
    """Ten seeds of a table with the given modes of each row, all else as the paper's."""
    rng = np.random.default_rng(0)
    table = pacgan.figures("grid", pacgan.PACKINGS)
    return [
        {name: value + 0.01 * rng.normal() for name, value in (table | modes).items()}
        for _ in range(10)
    ]


def test_pacgans_rules_hold_of_its_table_and_not_of_packing_without_effect():
    claims = {claim.id: claim for claim in pacgan.CLAIMS}
    assert ledger.judge(claims["pacgan.grid"], measurements()).name == "DIRECTION HOLDS"
    assert ledger.judge(claims["pacgan.grid_whole"], measurements()).name == "REPRODUCED"
    same = measurements(pacgan2_modes=17.3)
    assert ledger.judge(claims["pacgan.grid"], same).name == "FAILED"
    assert ledger.judge(claims["pacgan.grid_whole"], same).name == "FAILED"


@pytest.mark.parametrize("mixture", ["ring", "grid"])
def test_packed_rows_of_noise_are_not_pacgans(mixture):
    """Of 2500 points spread evenly over the square some are near every mode of the grid."""
    claim = {claim.id: claim for claim in pacgan.CLAIMS}[f"pacgan.{mixture}"]
    of = MIXTURES[mixture]
    low, high = of.centres.min(axis=0) - 3 * of.std, of.centres.max(axis=0) + 3 * of.std
    noisy = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        table = pacgan.figures(mixture, (1,))
        values = {name: value + 0.01 * rng.normal() for name, value in table.items()}
        for packing in pacgan.PACKINGS[1:]:
            points = rng.uniform(low, high, (protocol.SAMPLES, 2))
            scores = mode_scores(points, of.centres, of.std)
            share = pacgan.scattered_quality(mixture)
            assert scores["high_quality"] == pytest.approx(share, abs=0.015)
            values |= {f"pacgan{packing}_{name}": score for name, score in scores.items()}
        noisy.append(values)
    assert ledger.judge(claim, noisy).name == "FAILED"
    if mixture == "grid":
        without = dataclasses.replace(claim, rules=claim.rules[:6])
        assert ledger.judge(without, noisy).name == "DIRECTION HOLDS"


def test_trivial_samplers_stand_beside():
    found = pacgan.anchors("ring", 0)
    assert found["perfect_modes"] == 8 and found["one_point_modes"] == 1
    assert found["one_gaussian_high_quality"] < 0.1
