"""transformers' `generate`: greedy, with its cache, fresh weights of GPT-2's shape, 10.9M."""


def run(batch: int, prompt: int) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from launch.peers.protocol import serve

    shape = dict(n_layer=6, n_head=6, n_embd=384, n_positions=512, vocab_size=88)
    model = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=None)).eval()
    tokens = torch.arange(prompt).repeat(batch, 1)
    mask = torch.ones_like(tokens)

    @torch.no_grad()
    def stretch(new: int) -> None:
        found = model.generate(
            tokens,
            attention_mask=mask,
            do_sample=False,
            min_new_tokens=new,
            max_new_tokens=new,
            use_cache=True,
            pad_token_id=0,
        )
        assert found.shape == (batch, prompt + new)

    serve(stretch)
