"""Turns of the loop and something else: the first, which holds the compilation, is left out."""

from launch.turns import by_turns
from research.training.state import TrainState


class Loop:
    """One that trains nothing; its wait for data is the step's number."""

    def train(self, *, steps, writers, log_every, hooks):
        for step in range(1, steps + 1):
            if step % log_every == 0:
                for writer in writers:
                    writer.scalars(step, {"data_wait": float(step)})
            for hook in hooks:
                if step % hook.every == 0:
                    hook.act(None)
        return TrainState(steps, {}, {}, {})


def test_the_first_turns_wait_is_left_out_with_its_time():
    """Two records a turn; those of the two turns after the first are of steps 6, 8, 10 and 12."""
    turns = by_turns(Loop(), lambda: 1.0, steps=4, rounds=2, log_every=2)
    assert len(turns.looped) == 2 and turns.others == [1.0, 1.0]
    assert turns.data_wait == 9
