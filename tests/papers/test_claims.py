"""A wrong implementation fails the claim it breaks; what is kept is of the claims as they stand."""

import dataclasses
import math

import jax
import pytest

from papers import ledger
from papers.classifier_free_guidance import claims as guidance
from papers.ddim import claims as ddim
from papers.ddpm import claims as ddpm
from papers.dirac_gan import claims as dirac_gan
from papers.edm import claims as edm
from papers.nucleus_sampling import claims as nucleus
from papers.pacgan import claims as pacgan
from papers.repaint import claims as repaint
from papers.scaling_laws import claims as scaling
from papers.vdm import claims as vdm
from tests.papers.verdicts import ALL, verdict


def with_beta(schedule):
    """A posterior whose variance is the forward one."""
    found = original_posterior(schedule)
    return found._replace(log_beta_tilde=found.log_beta)


def with_swapped_weights(schedule):
    """A posterior whose mean mixes up x_t and x_0."""
    found = original_posterior(schedule)
    return found._replace(weight_x=found.weight_x0, weight_x0=found.weight_x)


original_posterior = ddpm.posterior


@pytest.mark.parametrize("wrong", [with_beta, with_swapped_weights])
def test_a_wrong_posterior(monkeypatch, wrong):
    assert verdict("ddpm.posterior") == "REPRODUCED"
    monkeypatch.setattr(ddpm, "posterior", wrong)
    assert verdict("ddpm.posterior") == "FAILED"


def test_a_wrong_choice_of_variances(monkeypatch):
    assert verdict("ddpm.two_variances") == "REPRODUCED"
    monkeypatch.setattr(ddpm, "posterior", with_beta)
    assert verdict("ddpm.two_variances") == "FAILED"


def test_a_wrong_weight_of_the_bound(monkeypatch):
    def wrong(*arguments, variance, **options):
        return original(*arguments, variance="beta_tilde", **options)

    assert verdict("ddpm.simple_gradient") == "REPRODUCED"
    original = ddpm.bound_term
    monkeypatch.setattr(ddpm, "bound_term", wrong)
    assert verdict("ddpm.simple_gradient") == "FAILED"


def test_ddim_that_ignores_eta(monkeypatch):
    assert verdict("ddim.eta_one") == "REPRODUCED"
    original = ddim.ddim
    wrong = lambda *arguments, eta: original(*arguments, eta=0.0)  # noqa: E731
    monkeypatch.setattr(ddim, "ddim", wrong)
    assert verdict("ddim.eta_one") == "FAILED"


def test_ddim_that_is_never_deterministic(monkeypatch):
    assert verdict("ddim.ode") == "REPRODUCED"
    original = ddim.ddim
    wrong = lambda *arguments, eta: original(*arguments, eta=max(eta, 0.1))  # noqa: E731
    monkeypatch.setattr(ddim, "ddim", wrong)
    assert verdict("ddim.ode") == "FAILED"


@pytest.fixture
def fewer_steps(monkeypatch):
    """Errors of fewer steps, neither kept from before nor for later."""
    monkeypatch.setattr(edm, "REFERENCE_STEPS", 2048)
    monkeypatch.setattr(edm, "STEPS", (256, 512))
    edm.errors.cache_clear()
    yield
    edm.errors.cache_clear()


def test_a_solver_of_first_order(monkeypatch, fewer_steps):
    assert verdict("edm.order") == "REPRODUCED"
    edm.errors.cache_clear()
    monkeypatch.setattr(edm, "heun", lambda *arguments: edm.euler(*arguments[:3]))
    assert verdict("edm.order") == "FAILED"


def test_preconditioning_left_out(monkeypatch):
    class Plain(edm.EDM):
        def precondition(self, params, x, sigma, labels, **options):
            output = self.network.apply({"params": params}, x, sigma, labels, train=False, rngs={})
            return x - sigma[:, None, None, None] * output

    monkeypatch.setattr(edm, "EDM", Plain)
    assert verdict("edm.preconditioning") == "FAILED"


def test_a_loss_that_weighs_its_errors_otherwise(monkeypatch):
    class Heavier(edm.EDM):
        def denoising_error(self, *arguments, **options):
            return 1.05 * super().denoising_error(*arguments, **options)

    assert verdict("edm.preconditioning") == "REPRODUCED"
    monkeypatch.setattr(edm, "EDM", Heavier)
    assert verdict("edm.preconditioning") == "FAILED"


def test_a_bound_without_the_schedules_slope(monkeypatch):
    def wrong(denoise, x0, rng, *, log_snr, terms):
        def constant_slope(t):
            held = jax.lax.stop_gradient(t)
            return jax.lax.stop_gradient(log_snr(held)) + (vdm.LAST - vdm.FIRST) * (t - held)

        return original(denoise, x0, rng, log_snr=constant_slope, terms=terms)

    assert verdict("vdm.interior") == "REPRODUCED"
    original = vdm.continuous_diffusion_loss
    monkeypatch.setattr(vdm, "continuous_diffusion_loss", wrong)
    assert verdict("vdm.interior") == "FAILED"


def test_inpainting_without_resampling(monkeypatch):
    monkeypatch.setattr(repaint, "COUNT", 1000)
    assert verdict("repaint.conditional") == "DIRECTION HOLDS"
    original = repaint.repaint

    def wrong(*arguments, resamples, **options):
        return original(*arguments, resamples=1, **options)

    monkeypatch.setattr(repaint, "repaint", wrong)
    assert verdict("repaint.conditional") == "FAILED"


def test_guidance_the_other_way(monkeypatch):
    assert verdict("classifier_free_guidance.implicit_classifier") == "REPRODUCED"
    original = guidance.guided
    monkeypatch.setattr(guidance, "guided", lambda one, other, w: original(one, other, -w))
    assert verdict("classifier_free_guidance.implicit_classifier") == "FAILED"


AS_THE_PAPER_SAYS = {
    "ddim.few_steps": dict(eta0_10=13.36, eta1_10=41.07, rise_eta0=9.2, rise_eta1=35.29),
    "ddim.few_steps_mnist": dict(eta0_10=13.36, eta1_10=41.07, rise_eta0=9.2, rise_eta1=35.29),
    "ddim.consistency": dict(distance_eta0=0.1, distance_eta1=0.5, distance_other_x_T=0.8),
    "improved_ddpm.likelihood": dict(cosine_hybrid=3.17, linear_simple=3.37),
    "improved_ddpm.few_steps": dict(rise_learned=0.1, rise_beta_tilde=5.0, rise_beta=50.0),
    "classifier_free_guidance.trade_off": dict(
        confidence_0=0.9, confidence_4=0.99, spread_0=5.0, spread_4=2.0
    ),
    "classifier_free_guidance.u_shape": {
        "frechet_0": 1.80,
        "frechet_0.1": 1.55,
        "frechet_1": 12.6,
        "frechet_4": 26.2,
    },
    "repaint.conditional": dict(
        slope_error_32=0.0,
        slope_error_4=0.1,
        slope_error_1=0.3,
        variance_error_32=0.0,
        known_error_32=0.0,
    ),
    "dirac_gan.convergence": {
        f"{play}_distance": float(play not in dirac_gan.CONVERGENT) for play in dirac_gan.PLAYS
    },
    "attention_is_all_you_need.scale": dict(
        greatest_error=0.0, gradient_scaled=1.0, gradient_unscaled=0.0
    ),
    "edm.calls": dict(heun_calls=60.0, euler_calls=200.0),
    "iwae.likelihood": dict(nll_1=86.76, nll_5=85.54, nll_50=84.78),
    "vae.reparameterisation": dict(
        reparameterised_bias=1.0,
        score_function_bias=1.0,
        reparameterised_variance=150.0,
        score_function_variance=6000.0,
    ),
    "pacgan.grid": pacgan.figures("grid", pacgan.PACKINGS),
    "pacgan.ring": pacgan.figures("ring", pacgan.PACKINGS),
    "wgan_gp.critic": dict(
        penalised_ratio=1.0,
        penalised_norm=1.0,
        penalised_ratio_error=0.01,
        clipped_norm=0.001,
        clipped_ratio_error=0.9,
    ),
    "flash_attention.memory": dict(
        saving_2048=10.0, saving_4096=20.0, doubling=2.0, standard_doubling=4.0
    ),
    "bert.both_sides": dict(
        loss_both=2.5, loss_left=3.0, loss_unigram=6.0, accuracy_both=0.5, accuracy_left=0.4
    ),
    "gpt2.residual_scale": dict(growth=1.0, growth_unscaled=12.0),
    "induction_heads.prefix_matching": dict(one_layer=0.05, two_layers=0.9),
    "induction_heads.in_context_score": dict(two_layers=-3.0, one_layer=-0.9, letters_alone=-0.94),
    "grokking.delay": dict(
        times_later=1000.0, reached=1.0, validation_then=0.01, validation_at_last=0.99
    ),
    "grokking.without_decay": dict(times_later=1000.0),
    "in_context_regression.linear": dict(
        transformer=0.0006,
        averaging=0.5,
        zero=1.0,
        above_least_squares=0.0006,
        transformer_at_0=1.0,
    ),
    "lora.gloss_categories": dict(
        shortfall=-0.008,
        gain_over_probe=0.1,
        learned_share=0.0024,
        majority_accuracy=0.1,
        probe_accuracy=0.6,
        lora_accuracy=0.87,
    ),
    "nucleus_sampling.likelihood": {f"perplexity_{k}": v[0] for k, v in nucleus.FIGURES.items()},
    "nucleus_sampling.nearest": {
        f"gap_{name}": abs(math.log(perplexity / nucleus.FIGURES["human"][0]))
        for name, (perplexity, _) in nucleus.FIGURES.items()
        if name != "human"
    },
    "nucleus_sampling.repetition": {f"repetition_{k}": v[1] for k, v in nucleus.FIGURES.items()},
    "scaling_laws.parameters": dict(
        zip(scaling.NAMES, (2.4, 2.2, 2.0, 1.8), strict=True), bigram_loss=2.5, r_squared=0.99
    ),
    "scaling_laws.shape": dict(shape_gap=0.02, size_gap=0.1),
    "tcn.sequential_mnist": dict(
        rnn_accuracy=21.5, lstm_accuracy=87.2, gru_accuracy=96.2, tcn_accuracy=99.0
    ),
    "t5.summarize": dict(rougeL_lead_words=0.27, rougeL_most_frequent=0.02, rougeL_ours=0.35),
    "word2vec.glove_analogies": dict(gain=57.6, to_300=0.1),
    "word2vec.similarity": dict(
        agreement_untrained=0.05, agreement=0.5, same_kind_as_frequent=0.08, same_kind=0.5
    ),
    "word2vec.subsampling": dict(agreement_whole=0.59, agreement=0.60),
    "ppo.no_clip": dict(no_clip=-0.39, clip=0.82),
    "ppo.penalties": dict(fixed_kl=0.71, adaptive_kl=0.74, clip=0.82),
}


def over_seeds(values):
    """Three seeds that differ by a thousandth."""
    return [
        {name: value * (1 + 1e-3 * seed) for name, value in values.items()} for seed in range(3)
    ]


@pytest.mark.parametrize("claim_id", AS_THE_PAPER_SAYS)
def test_a_direction_holds_as_the_paper_has_it_and_fails_turned_round(claim_id):
    claim = dataclasses.replace(ALL[claim_id], seeds=3)
    values = AS_THE_PAPER_SAYS[claim_id]
    assert ledger.judge(claim, over_seeds(values)).name == "DIRECTION HOLDS"
    turned = {name: -value for name, value in values.items()}
    assert ledger.judge(claim, over_seeds(turned)).name == "FAILED"
    same = dict.fromkeys(values, 1.0)
    assert ledger.judge(claim, over_seeds(same)).name == "FAILED"


def test_every_direction_claim_is_in_that_table():
    assert AS_THE_PAPER_SAYS.keys() == {c.id for c in ALL.values() if c.kind == "direction"}


@pytest.mark.parametrize("claim_id", ALL)
def test_a_claim_is_whole(claim_id):
    claim = ALL[claim_id]
    assert claim.figure.count("[V") + claim.figure.count("[M") or "not quoted" in claim.figure
    if claim.measure is None:
        assert claim.not_run and claim.kind == "accelerator"
    else:
        assert claim.rules and claim.ours and claim.baseline and claim.seeds >= 3


def test_what_is_kept_is_of_the_claims_as_they_stand():
    for paper in {claim.paper for claim in ALL.values()}:
        for claim_id, entry in ledger.results(paper).items():
            claim = ALL[claim_id]
            again = f"python -m launch.reproduce --paper={paper} --claim={claim_id}"
            assert entry["fingerprint"] == claim.fingerprint, f"{claim_id} has changed: {again}"
            found = ledger.judge(claim, ledger.measurements(claim))
            assert entry["name"] == found.name and entry["reason"] == found.reason, again
