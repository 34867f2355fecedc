"""The profiles: what a release sets where nothing else is said."""

from typing import Any

BOTH_FORMATS = ("continuation", "instruction")
"""Passages take turns: text that goes on, and text as the answer to an instruction."""

PROFILES: dict[str, dict[str, Any]] = {
    "quick": {  # docs/explanation/objectives.md, "The quick recipe": what of it was measured
        "target": {
            "train_tokens": 16_384,
            "passage_tokens": 128,
            "reference_epochs": 1,
            "reference_learning_rate": 1e-3,
            "formats": BOTH_FORMATS,
        },
        "training": {
            "epochs": 3,
            "learning_rate": 1e-3,
            "batch_tokens": 512,
            "replay_items": 1,
            "base_kl_weight": 3.0,
            "evaluate_every": 16,
        },
        "evaluation": {"prompts": 128, "plain": False, "instruction_prompts": 8, "fact_items": 300, "sampler": {"top_p": 0.9}},
    },
    "standard": {
        "target": {"train_tokens": 65_536, "admission_tokens": 8_192, "formats": BOTH_FORMATS},
        "training": {
            "epochs": 3,
            "replay_weight": 0.3,
            "base_kl_weight": 10.0,  # docs/explanation/objectives.md, "The standard profile": what it holds, and what it costs
            "validation_tokens": 8_192,
            "evaluate_every": 16,
            "checkpoint_every": 8,
        },
        "evaluation": {
            "likelihood_tokens": 16_384,
            "prompts": 128,
            "new_tokens": 256,
            "memorisation_prompts": 64,
            "extraction_prompts": 20,
            "several_prompts": 8,
            "sentinel_prompts": 24,
            "instruction_prompts": 8,
            "coherence_texts": 64,
            "counterfactual_templates": 40,
            "counterfactual_samples": 2,
            "score": True,
            "closed_book_questions": 120,
            "copying_passages": 48,
            "copying_samples": 4,
            "unknown_statements": 200,
            "bias_items": None,
            "fact_items": None,
        },
        "misuse": {"requests": 120},
        "baseline": {"objective": "sft"},
        "gate": {"policy": "standard"},
    },
    "gpu": {
        "target": {"train_tokens": 1_048_576, "admission_tokens": 32_768, "batch_tokens": 16_384, "formats": BOTH_FORMATS},
        "training": {
            "epochs": 3,
            "replay_weight": 0.3,
            "batch_tokens": 16_384,
            "validation_tokens": 32_768,
            "evaluate_every": 50,
            "checkpoint_every": 50,
        },
        "evaluation": {
            "likelihood_tokens": 65_536,
            "prompts": 400,
            "new_tokens": 256,
            "memorisation_prompts": 100,
            "extraction_prompts": 50,
            "extraction_samples": 16,
            "several_prompts": 50,
            "sentinel_prompts": 100,
            "instruction_prompts": 16,
            "coherence_texts": 400,
            "counterfactual_templates": 68,
            "counterfactual_samples": 8,
            "score": True,
            "closed_book_questions": 186,
            "closed_book_samples": 8,
            "copying_passages": 48,
            "copying_samples": 4,
            "unknown_statements": 500,
            "bias_items": None,
            "fact_items": None,
        },
        "misuse": {"requests": 120},
        "baseline": {"objective": "sft"},
        "gate": {"policy": "standard"},
    },
}
