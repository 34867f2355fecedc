"""Which extra brings which library: what is asked for where one is not installed.

The base compares texts. `pip install 'timbre[run]'` brings the whole road; `train`, `serve` and `data` are its parts.
"""

from importlib.util import find_spec

EXTRA_OF = {
    "accelerate": "train",
    "alembic": "serve",
    "cryptography": "serve",
    "datasets": "data",
    "datasketch": "data",
    "docutils": "data",
    "docx": "documents",
    "dvc": "data",
    "fastapi": "serve",
    "fsspec": "data",
    "gguf": "train",
    "great_expectations": "data",
    "httpx": "run",
    "huggingface_hub": "train",
    "lm_eval": "benchmarks",
    "mlflow": "run",
    "odfdo": "documents",
    "onnx": "run",
    "onnx_ir": "run",
    "onnxruntime": "serve",
    "onnxscript": "run",
    "pandas": "data",
    "peft": "train",
    "phonenumbers": "data",
    "prefect": "run",
    "prometheus_client": "serve",
    "py3langid": "data",
    "pyarrow": "data",
    "pypdf": "documents",
    "ruamel": "data",
    "safetensors": "train",
    "sqlalchemy": "serve",
    "starlette": "serve",
    "tokenizers": "serve",
    "striprtf": "documents",
    "torch": "train",
    "transformers": "train",
    "uvicorn": "serve",
}
"""The smallest extra with each module that the base does not have."""


class MissingExtraError(ValueError):
    """Something that was asked for needs an extra that is not installed. The message names it."""


def require(extra: str, what: str) -> None:
    """Make sure, before any work, that what an extra is for can be imported.

    Args:
        extra: its name; `run` stands for its parts too.
        what: what needs it, as the sentence begins.

    Raises:
        MissingExtraError: it is not installed, or only in part.
    """
    parts = ("run", "train", "serve", "data") if extra == "run" else (extra,)
    for module, one in EXTRA_OF.items():
        if one in parts and find_spec(module) is None:
            raise MissingExtraError(sentence(what, extra, module))


def sentence(what: str, extra: str, module: str) -> str:
    """What is missing, and how to have it."""
    return f"{what} needs the extra {extra!r} ({module} is not installed): pip install 'timbre[{extra}]'"


def lacking(error: ModuleNotFoundError) -> str | None:
    """What to tell where a module of an extra was not found; None where any other is missing, which is a bug."""
    module = (error.name or "").partition(".")[0]
    return sentence("this", EXTRA_OF[module], module) if module in EXTRA_OF else None
