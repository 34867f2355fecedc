"""What runs a served model, behind one protocol: our ONNX decoder (`timbre.export.session.Decoder`), torch, onnxruntime-genai.

torch is the reference: the merged model as it was trained, row by row, in fp32. onnxruntime-genai runs graphs of its own builder
(`timbre.export.genai`), one generator a row. Only ours writes rows together, keeps beginnings of prompts and rows that are bit-equal
beside others; it is the default. All give the same text for the same seed where their logits agree to what decides a token.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]


class Rows(Protocol):
    """Texts that are written together, come and go; a row that leaves gives its number to the last one."""

    @property
    def rows(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """Memory of what is kept of their tokens, as far as it is known."""
        ...

    def join(self, cache: Any) -> None:
        """Add a row whose tokens so far are those of a cache of this runtime."""
        ...

    def leave(self, row: int) -> None: ...

    def step(self, tokens: Ids) -> Logits:
        """Feed one token a row, [rows]; logits of what follows, [rows, vocabulary], until the next step."""
        ...


class Runtime(Protocol):
    """Reads prompts and makes rows that go on from them."""

    @property
    def provider(self) -> str:
        """What runs it, in words."""
        ...

    @property
    def token_bytes(self) -> int:
        """Memory of one token of one text."""
        ...

    @property
    def logits_width(self) -> int: ...

    def empty_cache(self, batch: int) -> Any: ...

    def step(self, input_ids: Ids, cache: Any) -> tuple[Logits, Any]:
        """Feed tokens [1, sequence] after those of a cache, which stays as it is.

        Returns:
            Logits whose last place is what follows, and the cache after it.
        """
        ...

    def read(self, input_ids: Ids, cache: Any) -> tuple[Logits, Any]:
        """The same for a prompt: logits of what follows alone, [1, vocabulary]."""
        ...

    def rows(self) -> Rows: ...


class _Read:
    """Tokens of one text, and what a runtime keeps of them."""

    def __init__(self, length: int, state: Any) -> None:
        self.length, self.state = length, state


class TorchRuntime:
    """A causal language model of transformers, in eval mode."""

    def __init__(self, model: Any) -> None:
        self._model = model
        text = model.config.get_text_config(decoder=True)
        heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
        size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        self.token_bytes = int(8 * text.num_hidden_layers * heads * size)
        self.logits_width = int(model.get_output_embeddings().weight.shape[0])
        self.provider = f"torch on {model.device.type}"

    def empty_cache(self, batch: int) -> _Read:
        from transformers import DynamicCache

        assert batch == 1
        return _Read(0, DynamicCache())

    def step(self, input_ids: Ids, cache: _Read) -> tuple[Logits, _Read]:
        from copy import deepcopy

        return self.go_on(input_ids, _Read(cache.length, deepcopy(cache.state)))

    def read(self, input_ids: Ids, cache: _Read) -> tuple[Logits, _Read]:
        logits, after = self.step(input_ids, cache)
        return logits[:, -1], after

    def go_on(self, input_ids: Ids, cache: _Read) -> tuple[Logits, _Read]:
        """The same, on the cache itself."""
        import torch

        with torch.inference_mode():
            ids = torch.from_numpy(np.ascontiguousarray(input_ids)).to(self._model.device)
            logits = self._model(input_ids=ids, past_key_values=cache.state, use_cache=True).logits
        return logits.float().cpu().numpy(), _Read(cache.length + input_ids.shape[1], cache.state)

    def rows(self) -> Rows:
        return _TorchRows(self)


class _TorchRows:
    """Each row has a cache of its own, and a step takes one after the other."""

    def __init__(self, runtime: TorchRuntime) -> None:
        self._runtime = runtime
        self._caches: list[_Read] = []

    @property
    def rows(self) -> int:
        return len(self._caches)

    @property
    def nbytes(self) -> int:
        return self._runtime.token_bytes * sum(cache.length for cache in self._caches)

    def join(self, cache: _Read) -> None:
        from copy import deepcopy

        self._caches.append(_Read(cache.length, deepcopy(cache.state)))

    def leave(self, row: int) -> None:
        self._caches[row] = self._caches[-1]
        self._caches.pop()

    def step(self, tokens: Ids) -> Logits:
        found = []
        for row, cache in enumerate(self._caches):
            logits, self._caches[row] = self._runtime.go_on(np.array([[tokens[row]]]), cache)
            found.append(logits[0, -1])
        return np.stack(found)


class GenaiRuntime:
    """A folder that onnxruntime-genai's builder made (`timbre.export.genai`)."""

    def __init__(self, folder: Path, context: int, token_bytes: int) -> None:
        """Open it.

        Raises:
            ValueError: the package is not installed.
        """
        try:
            self._genai: Any = import_module("onnxruntime_genai")
        except ImportError as error:
            raise ValueError("the engine genai needs onnxruntime-genai-cuda: pip install 'timbre[genai]'") from error
        self._context, self._model = context, self._genai.Model(str(folder))
        self.token_bytes, self.provider = token_bytes, f"onnxruntime-genai on {self._model.device_type}"
        self._width = 0

    @property
    def logits_width(self) -> int:
        if not self._width:
            self._width = int(self.step(np.zeros((1, 1), np.int64), self.empty_cache(1))[0].shape[-1])
        return self._width

    def empty_cache(self, batch: int) -> _Read:
        assert batch == 1
        return _Read(0, ())

    def step(self, input_ids: Ids, cache: _Read) -> tuple[Logits, _Read]:
        ids = (*cache.state, *input_ids[0].tolist())
        return self.logits(self.generator(ids))[None, None], _Read(len(ids), ids)

    def read(self, input_ids: Ids, cache: _Read) -> tuple[Logits, _Read]:
        logits, after = self.step(input_ids, cache)
        return logits[:, -1], after

    def generator(self, ids: Sequence[int]) -> Any:
        """A generator that has read these tokens."""
        params = self._genai.GeneratorParams(self._model)
        params.set_search_options(max_length=self._context, do_sample=False)
        generator = self._genai.Generator(self._model, params)
        generator.append_tokens(np.array(ids, np.int32))
        return generator

    def logits(self, generator: Any) -> Logits:
        """Of what follows, [vocabulary]."""
        values: Logits = np.asarray(generator.get_logits(), np.float32).reshape(-1, np.shape(generator.get_logits())[-1])[-1]
        return values

    def rows(self) -> Rows:
        return _GenaiRows(self)


class _GenaiRows:
    """A generator a row; it reads its row's tokens anew when it joins."""

    def __init__(self, runtime: GenaiRuntime) -> None:
        self._runtime, self._generators, self._lengths = runtime, list[Any](), list[int]()

    @property
    def rows(self) -> int:
        return len(self._generators)

    @property
    def nbytes(self) -> int:
        return self._runtime.token_bytes * sum(self._lengths)

    def join(self, cache: _Read) -> None:
        self._generators.append(self._runtime.generator(cache.state))
        self._lengths.append(cache.length)

    def leave(self, row: int) -> None:
        for kept in (self._generators, self._lengths):
            kept[row] = kept[-1]
            kept.pop()

    def step(self, tokens: Ids) -> Logits:
        found = []
        for row, generator in enumerate(self._generators):
            generator.append_tokens(np.array([tokens[row]], np.int32))
            found.append(self._runtime.logits(generator))
            self._lengths[row] += 1
        return np.stack(found)
