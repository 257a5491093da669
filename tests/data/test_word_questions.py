"""The published questions about words: how many there are, and some of them."""

from research.data import word_questions


def test_analogies_are_mikolovs():
    sections = word_questions.analogies()
    syntactic = sum(len(rows) for name, rows in sections.items() if name.startswith("gram"))
    semantic = sum(len(rows) for rows in sections.values()) - syntactic
    assert (semantic, syntactic, len(sections)) == (8869, 10675, 14)  # 1301.3781, section 4.1
    assert ("boy", "girl", "king", "queen") in sections["family"]
    assert all(len(row) == 4 for rows in sections.values() for row in rows)


def test_similarities_are_of_pairs():
    asked = word_questions.similarities("wordsim353")
    assert len(asked) == 353 and asked[0] == ("love", "sex", 6.77)
    assert len(word_questions.similarities("simlex999")) == 999
