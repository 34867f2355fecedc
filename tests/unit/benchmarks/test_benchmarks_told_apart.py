from benchmarks.told_apart import validated


def test_areas_follow_the_mixture_and_the_figures_say_how_many_comparisons_they_are_of() -> None:
    found = validated(rounds=2, prompts=40, documents=10, strength=0.3)
    assert found["comparisons"] == 6 and set(found["false_nearer"]) == {"words", "frame"}
    words = list(found["auc"]["words"].values())
    assert words == sorted(words, reverse=True) and words[0] > 0.95 and abs(words[-1] - 0.5) < 0.25
    assert found == validated(rounds=2, prompts=40, documents=10, strength=0.3)
