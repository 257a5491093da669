"""LoRA: Low-Rank Adaptation of Large Language Models (2106.09685)."""
