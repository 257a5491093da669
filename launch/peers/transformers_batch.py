"""transformers writes 256 tokens after 16 prompts; `generation.py` says by which model."""

CONFIG = "configs/gpt.py:10m"
REQUIREMENTS = ("torch==2.13.0", "transformers==5.24.0", "numpy==2.5.5")
WORK = "write"
UNIT, UNITS_PER_STEP = "tokens", 16
STEPS = 256
PROMPT = 16


def main() -> None:
    from launch.peers.generation import run

    run(UNITS_PER_STEP, PROMPT)


if __name__ == "__main__":
    main()
