"""rejax's PPO on CartPole: 64 environments, 64 steps a rollout, 4 epochs of 8 minibatches.

Its training is one compiled scan over iterations, here without evaluations in between. It does not
run on gymnax 1.0, whose steps return one value more.
"""

import functools

CONFIG = "configs/ppo.py:rejax"
REQUIREMENTS = ("rejax==0.1.3", "jax==0.11.2", "gymnax==0.0.9", "six==1.17.0")
WORK = "train"
UNIT, UNITS_PER_STEP = "environment steps", 64 * 64
STEPS = 20


def main() -> None:
    import jax
    from rejax import PPO

    from launch.peers.protocol import serve

    peer = PPO.create(
        env="CartPole-v1",
        num_envs=64,
        num_steps=64,
        num_epochs=4,
        num_minibatches=8,
        learning_rate=5e-4,
        gae_lambda=0.95,
        agent_kwargs={"hidden_layer_sizes": (64, 64), "activation": "tanh"},
    )
    state = peer.init_state(jax.random.key(0))

    @functools.partial(jax.jit, static_argnums=1, donate_argnums=0)
    def train(state, iterations):
        def iterate(state, _):
            return peer.train_iteration(state), None

        return jax.lax.scan(iterate, state, None, iterations)[0]

    def stretch(steps: int) -> None:
        nonlocal state
        state = jax.block_until_ready(train(state, steps))

    serve(stretch)


if __name__ == "__main__":
    main()
