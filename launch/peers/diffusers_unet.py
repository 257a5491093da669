"""diffusers' UNet2DModel on torch: DDPM on MNIST, 1.71M parameters, AdamW, batches of 128.

Channels 32, 64, 64, two blocks a level, attention at 14x14 and 7x7 with heads of 8 (torch's own
scaled_dot_product_attention), a thread a core and channels_last, its best common setting here.
"""

import sys

CONFIG = "configs/ddpm.py:diffusers"
REQUIREMENTS = ("torch==2.13.0", "diffusers==0.42.1", "numpy==2.5.5")
WORK = "train"
UNIT, UNITS_PER_STEP = "examples", 128
STEPS = 2


def main() -> None:
    import numpy as np
    import torch
    from diffusers import DDPMScheduler, UNet2DModel

    from launch.peers.protocol import serve

    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        layers_per_block=2,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
        norm_num_groups=8,
    ).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.01, fused=True)
    schedule = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    images = torch.from_numpy(np.load(sys.argv[1])["image"]).permute(0, 3, 1, 2)
    images = images / 127.5 - 1

    def step() -> None:
        x0 = images[torch.randint(len(images), (UNITS_PER_STEP,))]
        eps = torch.randn_like(x0)
        t = torch.randint(1000, (len(x0),))
        x = schedule.add_noise(x0, eps, t).to(memory_format=torch.channels_last)
        loss = torch.nn.functional.mse_loss(network(x, t).sample, eps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def stretch(steps: int) -> None:
        for _ in range(steps):
            step()

    serve(stretch)


if __name__ == "__main__":
    main()
