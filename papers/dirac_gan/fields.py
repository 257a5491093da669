"""Draws the Dirac-GAN's vector fields and trajectories: papers/dirac_gan/fields.png.

python -m papers.dirac_gan.fields
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from papers.dirac_gan.claims import PLAYS, STEPS, H
from papers.dirac_gan.game import game, trajectory, update
from papers.ledger import PAPERS_DIR

REACH, ARROWS = 2.0, 15


def draw() -> None:
    """One panel a way to play: the move at each (theta, psi), and the way from (1, 1)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.2), layout="constrained")
    panels = figure.subplots(1, len(PLAYS), sharex=True, sharey=True)
    axis = np.linspace(-REACH, REACH, ARROWS)
    places = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    for panel, (name, (arguments, bent)) in zip(panels, PLAYS.items(), strict=True):
        made, noise = game(H, **arguments), bent.get("noise", 0.0)
        move = jax.jit(jax.vmap(functools.partial(update, made, noise=noise)))
        arrows = np.asarray(move(jnp.asarray(places))) - places
        states = trajectory(made, np.ones(2), steps=STEPS, **bent)
        panel.quiver(*places.T, *arrows.T, color="0.6", angles="xy")
        panel.plot(*states.T, linewidth=0.8)
        panel.plot(*states[-1], "o", markersize=4)
        panel.plot(0, 0, "k+")
        panel.set(title=name, aspect="equal", xlabel="theta", xlim=(-REACH, REACH))
        panel.set(ylim=(-REACH, REACH))
    panels[0].set_ylabel("psi")
    figure.savefig(PAPERS_DIR / "dirac_gan" / "fields.png", dpi=80)


if __name__ == "__main__":
    draw()
