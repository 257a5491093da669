"""Models that claims share are read back as they were trained."""

import pytest

from papers import trained
from research.data import tokenizers
from research.errors import InputError


def test_a_kept_model_is_measured_with_the_tokenizer_it_was_trained_with(tmp_path, monkeypatch):
    """What the config names may since have become another one."""
    monkeypatch.setattr(trained, "RUNS", tmp_path / "runs")
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path / "cache"))
    texts = tmp_path / "texts"
    texts.mkdir()
    for name in "abcdef":
        (texts / f"{name}.txt").write_text("abba " * 40)
    given = tmp_path / "given.json"
    made = trained.config(
        "configs/gpt.py:shakespeare_char_debug",
        overrides={"data.name": str(texts), "data.tokenizer": str(given)},
    )
    tokenizers.train("char", ["ab c"]).save(given)
    before, _ = trained.trained(made, "toy")
    tokenizers.train("char", ["ba x"]).save(given)
    after, _ = trained.trained(made, "toy")
    assert after.train_data.fingerprint == before.train_data.fingerprint
    assert after.train_data.tokenizer.fingerprint == before.train_data.tokenizer.fingerprint
    for path in texts.iterdir():
        path.write_text("baab " * 40)
    with pytest.raises(InputError, match=r"toy-\w+ was trained on other data than .*/train is now"):
        trained.trained(made, "toy")
