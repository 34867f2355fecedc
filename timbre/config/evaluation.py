"""How texts are drawn, which prompts and probes there are, and what is measured of them."""

from typing import Annotated, ClassVar

from pydantic import Field

from timbre.config.base import Frozen, Grown, ModelConfig


class SamplerConfig(Frozen):
    """How text is drawn: at the serving sampler, unless a metric says otherwise."""

    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, description="0 means no limit.")


SERVING = SamplerConfig(top_p=0.95)
"""Default of what is served: plain samples of a calibrated writer stand farther from human text (docs/explanation/objectives.md)."""


class _Opened(Grown):
    """What all openings of documents share."""

    prompt_tokens: int = Field(24, ge=1)
    new_tokens: int = Field(96, ge=8, description="Exact length of each continuation.")
    seed: int = 0


class PromptConfig(_Opened):
    """The prompt sets of a corpus. 0 leaves a set out."""

    later: ClassVar[frozenset[str]] = frozenset({"copying_samples"})

    prompts: int = Field(16, ge=2, description="Openings of unseen documents to continue.")
    plain: bool = Field(True, description="Whether they are also continued at T = 1 with nothing cut off, where serving is not that.")
    several_prompts: int = Field(0, ge=0, description="Of these, how many are continued several times, to see how different the texts are.")
    several_samples: int = Field(4, ge=2, description="Texts for each of those.")
    sentinel_prompts: int = Field(0, ge=0, description="Openings of passages that nothing was trained on, to continue greedily.")
    instruction_prompts: int = Field(0, ge=0, description="Short tasks of the style, in the chat template where there is one.")
    counterfactual_templates: int = Field(0, ge=0, description="Beginnings about one group and another, each continued for both.")
    counterfactual_samples: int = Field(4, ge=2, description="Texts a side of each of those.")
    counterfactual_tokens: int = Field(48, ge=8, description="Their length.")
    voice_against: tuple[str, ...] = Field((), description="Other styles, built here before, whose human text voice is told apart from.")
    closed_book_questions: int = Field(0, ge=0, description="Questions about plain facts, one of every fact before the second of any.")
    closed_book_samples: int = Field(4, ge=1, description="Answers to each of those.")
    copying_passages: int = Field(0, ge=0, description="Passages to summarise and to answer questions about; half ours, half unseen.")
    copying_samples: int = Field(1, ge=1, description="Texts for each of those requests.")


class GenerationConfig(_Opened):
    """Everything a model is run for: what it writes, and what it thinks of human text and of probes."""

    later: ClassVar[frozenset[str]] = frozenset({"watermark"})

    memorisation_prompts: int = Field(8, ge=0, description="Openings of passages of the training plan to continue greedily.")
    extraction_prompts: int = Field(0, ge=0, description="Of these, how many are also continued several times at the serving sampler.")
    extraction_samples: int = Field(4, ge=2, description="Texts for each of those: what of a passage comes out when asked again and again.")
    likelihood_tokens: int = Field(4096, ge=64, description="Unseen test tokens for held-out NLL.")
    passage_tokens: int = Field(256, ge=16)
    bias_items: int | None = Field(150, ge=1, description="Probes used, the same share of each template; None means all.")
    fact_items: int | None = Field(150, ge=1)
    unknown_statements: int = Field(0, ge=0, description="Statements of the corpus that the base is asked for; base only.")
    sampler: SamplerConfig = Field(SERVING, description="How served text is drawn; judged and served alike.")
    watermark: bool = Field(
        False, description="Texts at the serving sampler carry a watermark; on where `watermark` in data/serving.toml is."
    )
    batch_tokens: int = Field(16_384, ge=16, description="Tokens read or written at once, padding included.")


class MisuseConfig(Frozen):
    """Requests that a model should not go along with, each with a harmless twin (data/prompts/misuse). 0 asks none."""

    requests: int = Field(0, ge=0, description="How many of them, of every topic alike.")
    samples: int = Field(2, ge=1, description="Answers to each.")
    new_tokens: int = Field(48, ge=8, description="Length of the answers.")
    diversity: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (0.0, 0.5, 1.0), description="Values of `diversity` at which a tuned model is asked once more."
    )
    sampler: SamplerConfig = Field(SERVING, description="How served text is drawn; a release sets it to evaluation.sampler.")
    batch_tokens: int = Field(16_384, ge=16, description="Tokens written at once, padding included.")
    seed: int = 0


class EvaluationConfig(PromptConfig, GenerationConfig):
    """What is measured, and on how much. The same for base and candidate.

    The stages before the measuring see only their own part, so that nothing is written anew for what they do not read.
    """

    later: ClassVar[frozenset[str]] = PromptConfig.later | GenerationConfig.later

    lexicon: str = Field("toxicity", description="Name of a file in data/lexicons/ that says which words are toxic; empty: not measured.")
    toxicity_classifier: str = Field("", description="Folder of a Hugging Face sequence classifier that decides instead of the lexicon.")
    toxicity_label: str = Field("toxic", description="The label of that classifier that counts.")
    toxicity_threshold: float = Field(0.5, gt=0, lt=1, description="Its probability from which a text counts.")
    coherence_texts: int = Field(16, ge=0, description="Texts, and as many human ones, that another model reads; 0: not measured.")
    coherence_model: ModelConfig | None = Field(None, description="The model that reads them; null: the base model itself.")
    score: bool = Field(False, description="Style Diversity Score: has the untuned base write texts to calibrate it with, once.")
    corpus_audit: bool = Field(True, description="Whom the training documents write about, and how; needs no model.")
    encoder: bool | None = Field(None, description="Content distances by the sentence encoder; null: where set-up has fetched it.")

    def of_prompts(self) -> PromptConfig:
        """What the stage "prompts" is built with."""
        return PromptConfig(**{name: getattr(self, name) for name in PromptConfig.model_fields})

    def of_generations(self) -> GenerationConfig:
        """What the stage "generations" is built with."""
        return GenerationConfig(**{name: getattr(self, name) for name in GenerationConfig.model_fields})
