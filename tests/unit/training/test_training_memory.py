"""What training holds at its peak is what the plan of a release counts for it."""

import json
import subprocess
import sys
from pathlib import Path

from timbre.config import TrainingConfig
from timbre.pipeline.plan import _bytes_of_training

_TRAIN = """
import json, re, sys
from pathlib import Path
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from timbre.config import TrainingConfig
from timbre.progress import SILENT
from timbre.training.data import Example
from timbre.training.trainer import train

model = LlamaForCausalLM(LlamaConfig(hidden_size=768, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=8, vocab_size=512,
                                     intermediate_size=2112, tie_word_embeddings=True))
parameters = sum(value.numel() for value in model.parameters())
passages = [Example(torch.arange(first, first + 20).numpy()) for first in (3, 60, 120)]
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
config = TrainingConfig.model_validate({"objective": "sft", "epochs": 1, "batch_tokens": 16, "learning_rate": 1e-5, "replay_weight": 0.0,
                                        "replay_items": 0, "evaluate_every": 1} | json.loads(sys.argv[1]))
model(torch.arange(3, 20)[None]).logits.sum().backward()
model.zero_grad(set_to_none=True)
before = peak() - 8 * parameters
result = train(model, passages[:2], config, vocab_size=512, held_out=passages[2:], scratch=Path(sys.argv[2]), progress=SILENT)
print(json.dumps({"bytes_a_parameter": (peak() - before) / parameters, "best_step": result.summary["best_step"]}))
"""
"""Of a model of 21 million parameters on three short passages: a peak is its weights', not the passages'. `before` is a process that has
computed once, less weights and gradients. (`ru_maxrss` would count the process that started this one.)"""


def test_training_all_weights_holds_what_the_plan_says(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _TRAIN, '{"adapter": "full"}', str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    measured = json.loads(done.stdout.splitlines()[-1])["bytes_a_parameter"]
    planned = _planned(adapter="full")
    assert abs(planned - measured) < 0.3 * measured, f"{planned} bytes a parameter are planned, {measured:.1f} were held"


def test_a_plan_counts_the_copy_of_the_base_where_all_weights_are_held_to_it() -> None:
    assert _planned(adapter="full", base_kl_weight=0.1) == _planned(adapter="full", base_kl_weight=0.0) + 4
    assert _planned(adapter="full", objective="dpo") == _planned(adapter="full", base_kl_weight=0.1)
    assert _planned(adapter="lora", base_kl_weight=0.1) == 4


def _planned(**settled: object) -> int:
    return _bytes_of_training(TrainingConfig.model_validate(settled))
