"""The Dirac-GAN's claims: eigenvalues of each way to play, and where each ends."""

import numpy as np

from papers.dirac_gan.game import eigenvalues, game, in_order, trajectory
from papers.ledger import Claim
from papers.rules import Measurement, identity, violated

SLOPE, CURVATURE = 0.5, -0.25  # of f(t) = -log(1 + exp(-t)) at 0
STEPS, H = 500, 0.2
NOISE, PENALTY, CLIP, GAMMAS = 0.7, 0.7, 1.0, (0.3, 1.0)
# How each way to play is constructed, and how its trajectory is bent.
PLAYS: dict[str, tuple[dict, dict]] = {
    "simultaneous": ({}, {}),
    "alternating": ({"play": "alternating"}, {}),
    "wgan": ({"loss": "wasserstein"}, {"clip": CLIP}),
    "wgan_gp": ({"loss": "wasserstein", "gradient_penalty": PENALTY}, {}),
    "noise": ({}, {"noise": NOISE}),
    **{f"r1_{gamma:g}": ({"r1": gamma}, {}) for gamma in GAMMAS},
}
CONVERGENT = ("noise", "r1_0.3", "r1_1")


def measure_eigenvalues(seed: int) -> Measurement:
    """The largest distance of an eigenvalue from its closed form, at a step drawn by the seed."""
    rng = np.random.default_rng(seed)
    h, noise, gamma = rng.uniform([0.05, 0.3, 0.2], [0.5, 1.0, 1.5])
    n_critic = int(rng.integers(1, 5))
    found = {
        "simultaneous": eigenvalues(game(h)),
        "alternating": eigenvalues(game(h, play="alternating", n_critic=n_critic)),
        # The flow's: a simultaneous update is 1 + h times it.
        "noise": (eigenvalues(game(h), noise=noise) - 1) / h,
        "r1": (eigenvalues(game(h, r1=gamma)) - 1) / h,
    }
    expected = {
        "simultaneous": simultaneous(h),
        "alternating": alternating(h * SLOPE * np.sqrt(n_critic)),
        "noise": flow(CURVATURE * noise**2),
        "r1": flow(-gamma / 2),
    }
    errors = {f"{name}_error": float(np.abs(found[name] - expected[name]).max()) for name in found}
    return errors | {
        "simultaneous_growth": float(np.abs(found["simultaneous"]).max() - 1),
        "alternating_growth": float(np.abs(found["alternating"]).max() - 1),
        "unregularized_error": float(np.abs(flow(0) - expected["r1"]).max()),
    }


def simultaneous(h: float) -> np.ndarray:
    """1 +- i h f'(0): of modulus above 1 at any step."""
    return in_order([1 - 1j * h * SLOPE, 1 + 1j * h * SLOPE])


def alternating(a: float) -> np.ndarray:
    """1 - a^2/2 +- sqrt((1 - a^2/2)^2 - 1), of modulus 1 up to a = 2; a = sqrt(n_g n_d) h f'(0)."""
    centre = 1 - a**2 / 2
    root = np.sqrt(complex(centre**2 - 1))
    return in_order([centre - root, centre + root])


def flow(damping: float) -> np.ndarray:
    """damping +- sqrt(damping^2 - f'(0)^2); it is f''(0) s^2 of noise s, -gamma/2 of R1."""
    root = np.sqrt(complex(damping**2 - SLOPE**2))
    return in_order([damping - root, damping + root])


def measure_convergence(seed: int) -> Measurement:
    """The distance from the solution after `STEPS` steps; the start (1, 1), turned by the seed."""
    angle = np.pi / 4 + seed
    start = np.sqrt(2) * np.array([np.cos(angle), np.sin(angle)])
    found = {}
    for name, (arguments, bent) in PLAYS.items():
        states = trajectory(game(H, **arguments), start, steps=STEPS, **bent)
        found[f"{name}_distance"] = float(np.linalg.norm(states[-1]))
    return found | {"start_distance": float(np.linalg.norm(start))}


CLAIMS = [
    Claim(
        id="dirac_gan.eigenvalues",
        statement="Simultaneous descent has eigenvalues 1 +- i h f'(0) and moves away; alternating "
        "descent has modulus 1; instance noise and R1 have flows of negative real part.",
        source="sections 2 to 4",
        figure="closed forms, difference 0 [V]",
        figures={f"{name}_error": 0 for name in ("simultaneous", "alternating", "noise", "r1")},
        kind="exact",
        protocol="Jacobians of `GAN.step` itself at (0, 0) by automatic differentiation, float64, "
        "the saturating loss; step, noise, gamma and n_critic drawn by the seed.",
        measure=measure_eigenvalues,
        rules=[
            *(
                identity(f"{name}_error", 0, tolerance=1e-6)
                for name in ("simultaneous", "alternating", "noise", "r1")
            ),
            violated("simultaneous_growth", least=1e-5),
            identity("alternating_growth", 0, tolerance=1e-6),
            violated("unregularized_error", least=0.05),
        ],
        seeds=5,
        ours=["simultaneous_error", "alternating_error", "noise_error", "r1_error"],
        baseline=["unregularized_error"],
        settings={"slope": SLOPE, "curvature": CURVATURE},
    ),
    Claim(
        id="dirac_gan.convergence",
        statement="Unregularized, clipped and gradient-penalised games do not converge to the "
        "solution; instance noise and R1 do.",
        source="figures 1 and 2, section 3",
        figure="shown as trajectories [V, the authors' notebook]",
        figures={f"{name}_distance": 0 for name in CONVERGENT},
        kind="direction",
        protocol=f"The authors' notebook: step {H:g}, {STEPS} steps from (1, 1), here turned by a "
        f"radian a seed; clip {CLIP:g}, penalty {PENALTY:g}, noise {NOISE:g}, gamma {GAMMAS}.",
        measure=measure_convergence,
        rules=[
            *(identity(f"{name}_distance", 0, tolerance=0.01) for name in CONVERGENT),
            *(violated(f"{name}_distance", least=0.1) for name in PLAYS if name not in CONVERGENT),
        ],
        seeds=5,
        ours=[f"{name}_distance" for name in PLAYS],
        baseline=["start_distance"],
        settings={"steps": STEPS, "h": H, "plays": PLAYS},
    ),
]
