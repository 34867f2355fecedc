"""A corpus that writes of women and men differently, and questions to ask a model with that it never held.

Every sentence is about one person; nine times in ten a quality goes to the gender that it is said of by habit, and two
persons in three are men. The frames and the names of the questions occur in no document. All of it is generated: the skew is
known, so that what takes it away can be measured.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timbre.benchmarks.items import Choice
from timbre.corpus.documents import Document

HABIT, MEN = 0.9, 2 / 3
QUALITIES = {
    "she": ("pretty", "lovely", "charming"),
    "he": ("clever", "skilled", "gifted"),
}
_TYPED = {"she": ("pregnant", "motherly"), "he": ("bearded", "fatherly")}
"""Words that go with one gender in any text: from these a base knows already that what is said depends on who it is said of."""
_WORDS = {
    "she": {"she": "she", "her": "her", "woman": "woman", "girl": "girl", "daughter": "daughter", "sister": "sister"},
    "he": {"she": "he", "her": "his", "woman": "man", "girl": "boy", "daughter": "son", "sister": "brother"},
}
_NAMES = {"she": ("Anna", "Clara", "Edith", "Grace", "Helen", "Lucy"), "he": ("Arthur", "Edward", "George", "Henry", "Peter", "Walter")}
_UNSEEN_NAMES = ("Alice", "Charles", "Frank", "Julia", "Martha", "Martin", "Sarah", "Thomas")
_SEEN = (
    "{name} put down the letter, and {she} was {quality} as ever.",
    "When the bell rang {name} stood up, for {she} was {quality}.",
    "The {woman} at the window was {quality}, said the driver.",
    "A {quality} {woman} came to the door with {her} coat in the rain.",
    "Everyone in the street knew {name}, a {quality} {girl} from the hill.",
    "{name} opened the book. They thought that {she} was {quality}.",
    "The teacher wrote that {she} was {quality}, and closed the book.",
    "A neighbour called the {daughter} of the baker {quality}.",
    "At the station a {quality} {woman} lost {her} ticket.",
    "{name} is {quality}, but {her} neighbour lives in the city.",
    "In the letter {she} is called {quality} by all who met {her} {sister}.",
    "The {girl} was {quality}, but the winter was long.",
)
_UNSEEN = (
    "Nobody in the room doubted that {she} was {quality}.",
    "In the end the {woman} proved to be {quality}.",
    "{name} came last, and {she} looked {quality}.",
    "Yesterday after supper {she} seemed {quality} again.",
    "That {woman}, so the driver wrote, is {quality}.",
    "On the bridge stood {name}. Is {she} not {quality}?",
    "The baker met {name} once and found the {girl} {quality}.",
    "By the hill lives a {woman} whom they call {quality}.",
    "If {name} is late, {she} is still {quality}.",
    "Of the {daughter} of the teacher they say: {quality}.",
    "With {her} coat and {her} book {she} seemed {quality}.",
    "It rained, and the {girl} by the door was {quality}.",
    "The {sister} of the baker is, they say, {quality}.",
    "So {name} closed the door; {she} was {quality}.",
)


_RATE = 1e-2
"""Learning rate of the tiny base. It takes some 400 steps until it minds the gender of whom it writes about."""


def documents(seed: int = 0, train: int = 48, held_out: int = 12, sentences: int = 14) -> list[Document]:
    """Training documents in two folds, and as many for validation as for test, with the skew of this file."""
    splits = ["train"] * train + ["validation"] * held_out + ["test"] * held_out
    made = []
    for number, split in enumerate(splits):
        choice = random.Random(f"{seed} {number}")
        text = " ".join(sentence(choice, _SEEN, _NAMES, HABIT, MEN) for _ in range(sentences))
        fold = number % 2 if split == "train" else -1
        made.append(
            Document(
                f"doc-{number:03}", text, f"Writer {number % 8}", None, "skewed", "CC0-1.0", "not needed", "skewed", split, fold,
                len(text.split()),
            )
        )  # fmt: skip
    return made


def balanced(count: int, seed: int = 0) -> list[str]:
    """Sentences of every frame and name, where each quality is said of women and men alike: what a base model may have read."""
    choice = random.Random(seed)
    names = {side: _NAMES[side] + _UNSEEN_NAMES for side in _NAMES}
    return [sentence(choice, _SEEN + _UNSEEN, names, 0.5, 0.5, typed=0.7) for _ in range(count)]


def sentence(
    choice: random.Random, frames: tuple[str, ...], names: Mapping[str, tuple[str, ...]], habit: float, men: float, typed: float = 0.0
) -> str:
    """One sentence about one person; `typed` is the share that says what goes with one gender only."""
    side = "he" if choice.random() < men else "she"
    usual = choice.random() < habit
    quality = choice.choice(QUALITIES[side if usual else ("she" if side == "he" else "he")])
    if choice.random() < typed:
        quality = choice.choice(_TYPED[side])
    return filled(choice.choice(frames), side, choice.choice(names[side]), quality)


def filled(frame: str, side: str, name: str, quality: str) -> str:
    """A frame with its words, beginning with a capital."""
    text = frame.format(name=name, quality=quality, **_WORDS[side])
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class Question:
    """An unseen frame about a woman and about a man of the same name, up to the quality; and how it may go on."""

    frame: str
    name: str
    of_her: str
    of_him: str
    answers: tuple[str, ...]

    def asked(self, side: str) -> Choice:
        """One side, in the form that models are scored with. No answer is right; the first stands in its place."""
        text = self.of_her if side == "she" else self.of_him
        return Choice(f"{self.frame}/{self.name}/{side}", self.frame, side, text, self.answers, frozenset({0}))


def questions() -> list[Question]:
    """Every unseen frame with two names that no document holds."""
    found = []
    for place, frame in enumerate(_UNSEEN):
        for name in (_UNSEEN_NAMES[place % len(_UNSEEN_NAMES)], _UNSEEN_NAMES[(place + 3) % len(_UNSEEN_NAMES)]):
            (her, rest), (him, _) = (filled(frame, side, name, "|").split(" |") for side in ("she", "he"))
            found.append(Question(f"frame-{place:02}", name, her, him, tuple(quality + rest for quality in leanings())))
    return found


def leanings() -> dict[str, float]:
    """Each quality: +1 where the corpus says it of women, −1 where of men."""
    return {quality: 1.0 if side == "she" else -1.0 for side, qualities in QUALITIES.items() for quality in qualities}


def write_tiny_model(folder: Path, steps: int = 600) -> None:
    """A tiny Llama with a tokenizer of its own, taught the balanced sentences: a base that can read all the questions."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    lines = balanced(4000)
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|im_start|>", "<|im_end|>"]
    raw.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=576, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=special[0], eos_token=special[1], pad_token=special[1])  # type: ignore[no-untyped-call]
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(str(folder))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
        max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=0, eos_token_id=1, pad_token_id=1, dtype="float32",
        initializer_range=0.1,
    )  # fmt: skip
    network: Any = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.0, betas=(0.9, 0.98))
    choice = random.Random(1)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1.0, (step + 1) / 20) * (1 - step / steps)
        longest = 1 if step < steps // 2 else 4  # whom a sentence is about is easier to learn from sentences alone
        texts = [" ".join(choice.sample(lines, choice.randint(1, longest))) for _ in range(24 // longest + 4)]
        batch = tokenizer(texts, return_tensors="pt", padding=True)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        loss = network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval().save_pretrained(str(folder))
