"""nanoGPT on Shakespeare's characters at its own setting for a CPU, 0.8M parameters.

4 layers and heads, width 128, context 64, no dropout and no biases, batches of 12, AdamW with a
cosine over 2000 steps, in float32 and not compiled. `$NANOGPT` names a checkout of its repository,
karpathy/nanoGPT, which is no package. 9 rounds and the one before them are the 2000 steps.
"""

import contextlib
import math
import os
import sys

CONFIG = "configs/gpt.py:shakespeare_char"
REQUIREMENTS = ("torch==2.13.0", "numpy==2.5.5")
WORK = "train"
METRIC = "loss"
UNIT, UNITS_PER_STEP = "tokens", 12 * 64
STEPS = 200
WARMUP, TOTAL, RATE, LAST_RATE = 100, 2000, 1e-3, 1e-4


def main() -> None:
    if "NANOGPT" not in os.environ:
        sys.exit("nanogpt_char: $NANOGPT must name a checkout of karpathy/nanoGPT")
    sys.path.insert(0, os.environ["NANOGPT"])
    import numpy as np
    import torch
    from model import GPT, GPTConfig

    from launch.peers.protocol import serve

    torch.manual_seed(1337)
    data = np.load(sys.argv[1])
    stream = torch.from_numpy(data["stream"].astype(np.int64))
    test = torch.from_numpy(data["test"].astype(np.int64))
    shape = dict(n_layer=4, n_head=4, n_embd=128, block_size=64, dropout=0.0, bias=False)
    vocabulary = int(max(stream.max(), test.max())) + 1
    with contextlib.redirect_stdout(sys.stderr):  # it prints, and answers go to stdout
        model = GPT(GPTConfig(vocab_size=vocabulary, **shape))
        optimizer = model.configure_optimizers(0.1, RATE, (0.9, 0.99), "cpu")
    done = 0

    def stretch(steps: int) -> None:
        nonlocal done
        for _ in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate(done)
            first = torch.randint(len(stream) - 64, (12,))
            rows = torch.stack([stream[i : i + 65] for i in first])
            _, loss = model(rows[:, :-1], rows[:, 1:].contiguous())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            done += 1

    @torch.no_grad()
    def score() -> float:
        model.eval()
        parts = test.split(64)
        nats = [
            model(rows[:, :-1], rows[:, 1:].contiguous())[1].item() * len(rows) for rows in parts
        ]
        return sum(nats) / len(test)

    serve(stretch, score)


def rate(done: int) -> float:
    """The learning rate after `done` steps; beyond `TOTAL` it stays the last."""
    if done < WARMUP:
        return RATE * (done + 1) / (WARMUP + 1)
    share = min(1, (done - WARMUP) / (TOTAL - WARMUP))
    return LAST_RATE + 0.5 * (1 + math.cos(math.pi * share)) * (RATE - LAST_RATE)


if __name__ == "__main__":
    main()
