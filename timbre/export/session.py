"""Running a bundle's decoder in ONNX Runtime: opening it on the device that really works, and stepping its cache.

No torch here: serving imports this file.
"""

import ctypes
import logging
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timbre.settings import settings

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, IOBinding, OrtValue

    from timbre.export.slots import Slots

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_NEEDS = "a driver, CUDA 13 and cuDNN 9"
_WAITING = {"intra_op.allow_spinning": "1", "intra_op.spin_duration_us": "30", "force_spinning_stop": "1"}
"""A thread that waits spins long enough to be there for the next operator of the same step, which waking it up takes longer than, and not
after the step: another session's step would find no core, and a server that waits would be busy."""
_PAST = re.compile(r"past_key_values\.(\d+)\.key")
_log = logging.getLogger(__name__)

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]


def open_session(path: Path) -> "InferenceSession":
    """Open an ONNX file on CUDA if `TIMBRE_DEVICE` allows it and it really works there, else on CPU; the log says which.

    ONNX Runtime's GPU build lists CUDA on machines without one and falls back without an exception, so the driver is
    asked first (which also keeps the failed attempt off stderr) and the session is asked afterwards.

    Raises:
        ValueError: `TIMBRE_DEVICE=cuda` and CUDA does not work here.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)  # its search for graphics cards warns about machines that have none
    wanted = settings().device
    if wanted not in {"auto", "cpu", "cuda"}:
        raise ValueError(f"TIMBRE_DEVICE is {wanted!r}: use auto, cpu or cuda")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings().threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for name, value in _WAITING.items():
        options.add_session_config_entry(f"session.{name}", value)
    providers: list[Any] = [CPU]
    if on_cuda():
        onnxruntime.preload_dlls()
        providers = [(CUDA, {"use_tf32": "0"}), CPU]  # TF32 keeps 10 bits of mantissa: parity of 1e-3 would not hold
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    used = provider_of(session)
    if used != CUDA and wanted == "cuda":
        raise ValueError(f"TIMBRE_DEVICE=cuda, but ONNX Runtime cannot use CUDA here: it needs {_NEEDS}. Use auto or cpu")
    if used != CUDA and len(providers) > 1:
        warnings.warn(f"a CUDA device is here, but ONNX Runtime cannot use it (it needs {_NEEDS}): running on CPU", stacklevel=2)
    _log.info("ONNX Runtime opened %s with %s", path.name, used)
    return session


def provider_of(session: "InferenceSession") -> str:
    """The provider that runs the session's graph, e.g. `CPUExecutionProvider`."""
    return str(session.get_providers()[0])


def on_cuda() -> bool:
    """Whether sessions are opened on a CUDA device here: there is one, and `TIMBRE_DEVICE` allows it."""
    return settings().device != "cpu" and _cuda_devices() > 0


@lru_cache
def _cuda_devices() -> int:
    """How many devices the NVIDIA driver offers; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


@dataclass(frozen=True)
class Cache:
    """Keys and values of every layer on the session's device, and which slots may be seen.

    Attributes:
        values: key of layer 0, value of layer 0, key of layer 1, …, each [batch, kv_heads, past, head_dim].
        mask: [batch, past], 0 where a slot is padding.
    """

    values: "Sequence[OrtValue]"
    mask: Ids

    @property
    def length(self) -> int:
        return int(self.mask.shape[1])


@dataclass(frozen=True)
class Placed:
    """A binding of a decoder that is in place, and the arrays that it reads, which live as long."""

    binding: "IOBinding"
    lengths: NDArray[np.int32]
    positions: Ids | None
    held: Any


class Decoder:
    """An exported decoder: tokens and a cache in, logits and the grown cache out."""

    def __init__(self, session: "InferenceSession") -> None:
        """Read the cache's shape from the session's own inputs.

        Raises:
            ValueError: the file is no decoder with a key-value cache.
        """
        self._session = session
        shapes = {item.name: item.shape for item in session.get_inputs()}
        keys = sorted((name for name in shapes if _PAST.fullmatch(name)), key=lambda name: int(name.split(".")[1]))
        self.in_place = {"input_ids", "seqlens_k", "total_sequence_length"} <= set(shapes)
        """Whether keys and values are written into the buffers that they are read from (`timbre.export.inplace`)."""
        self._positions = "position_ids" in shapes
        self._chooses = "logits_from" in shapes
        """Whether logits of the last place alone can be asked for."""
        if not keys or not (self.in_place or {"input_ids", "attention_mask", "position_ids"} <= set(shapes)):
            raise ValueError("this ONNX file is not a decoder with a key-value cache: export it with `timbre stage export`")
        self._kv_heads, self._head_dim = int(shapes[keys[0]][1]), int(shapes[keys[0]][3])
        self._past = [name for key in keys for name in (key, key.removesuffix("key") + "value")]
        self._present = [name.replace("past_key_values", "present") for name in self._past]
        self._device = "cuda" if provider_of(session) == CUDA else "cpu"
        self._width = session.get_outputs()[0].shape[-1]

    @classmethod
    def open(cls, path: Path) -> "Decoder":
        return cls(open_session(path))

    @property
    def provider(self) -> str:
        return provider_of(self._session)

    @property
    def kv_shape(self) -> tuple[int, int]:
        """Heads of keys and values, and numbers a head."""
        return self._kv_heads, self._head_dim

    @property
    def cache_parts(self) -> int:
        """Arrays of a cache: keys and values of every layer."""
        return len(self._past)

    @property
    def token_bytes(self) -> int:
        """Memory of one token in the cache."""
        return 4 * self._kv_heads * self._head_dim * self.cache_parts

    @property
    def logits_width(self) -> int:
        """Numbers a position: the vocabulary and what it is padded with."""
        if not isinstance(self._width, int):
            self._width = int(self.step(np.zeros((1, 1), np.int64), self.empty_cache(1))[0].shape[-1])
        return self._width

    def bind(self, ids: Ids, mask: Ids, positions: Ids, past: Sequence[Logits], logits: Logits, present: Sequence[Logits]) -> "IOBinding":
        """Inputs and outputs of many steps in arrays of the caller's, which it fills and reads between them (`run`).

        Args:
            ids, positions: [batch, sequence].
            mask: [batch, past + sequence].
            past: as in `Cache.values`, [batch, kv_heads, past, head_dim].
            logits: [batch, sequence, `logits_width`].
            present: like `past`, [batch, kv_heads, past + sequence, head_dim].

        On a CPU the arrays are used where they lie; on CUDA they are copied there and back at each step.
        """
        from onnxruntime import OrtValue

        binding = self._session.io_binding()
        names = ("input_ids", "attention_mask", "position_ids", *self._past)
        for name, array in zip(names, (ids, mask, positions, *past), strict=True):
            binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(array))
        for name, array in zip(("logits", *self._present), (logits, *present), strict=True):
            binding.bind_ortvalue_output(name, OrtValue.ortvalue_from_numpy(array))
        return binding

    def bind_in_place(
        self,
        ids: Ids,
        lengths: "NDArray[np.int32]",
        longest: "NDArray[np.int32]",
        cache: "Sequence[OrtValue]",
        logits: Logits,
        first: int = 0,
    ) -> "Placed":
        """The same for a decoder that is `in_place`.

        Args:
            ids: [batch, sequence].
            lengths: int32 [batch], tokens of each row after the step, less one.
            longest: int32 [], the largest of them, and one.
            cache: as in `Cache.values`, on the decoder's device, [batch, kv_heads, slots, head_dim] with room for the new tokens.
            logits: [batch, sequence − first, `logits_width`].
            first: the place of `ids` from which on logits are wanted; 0 unless the graph lets it be chosen.
        """
        from onnxruntime import OrtValue

        assert self._chooses or not first
        binding = self._session.io_binding()
        positions, start = (np.zeros(ids.shape, np.int64) if self._positions else None), np.array([first], np.int64)
        given = {"input_ids": ids, "seqlens_k": lengths, "total_sequence_length": longest, "position_ids": positions}
        given["logits_from"] = start if self._chooses else None
        for name, array in given.items():
            if array is not None:
                binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(array))
        for past, present, value in zip(self._past, self._present, cache, strict=True):
            binding.bind_ortvalue_input(past, value)
            binding.bind_ortvalue_output(present, value)
        binding.bind_ortvalue_output("logits", OrtValue.ortvalue_from_numpy(logits))
        return Placed(binding, lengths, positions, (ids, longest, start, cache, logits))

    def placed(self, array: Logits) -> "OrtValue":
        """An array of keys or values where the decoder can write it: on a CPU the array itself, on CUDA a copy there."""
        from onnxruntime import OrtValue

        return OrtValue.ortvalue_from_numpy(array, self._device, 0)

    @property
    def on_device(self) -> bool:
        """Whether buffers lie in another memory than numpy's."""
        return self._device != "cpu"

    def rows(self) -> "Slots":
        """An empty batch of texts that come and go."""
        from timbre.export.slots import Slots

        return Slots(self)

    def run(self, binding: "IOBinding") -> None:
        """One step on what `bind` bound."""
        self._session.run_with_iobinding(binding)

    def run_in_place(self, placed: "Placed") -> None:
        """One step on what `bind_in_place` bound."""
        if placed.positions is not None:
            placed.positions[:] = placed.lengths[:, None] + np.arange(1 - placed.positions.shape[1], 1)
        self._session.run_with_iobinding(placed.binding)

    def empty_cache(self, batch: int) -> Cache:
        from onnxruntime import OrtValue

        nothing = np.zeros((batch, self._kv_heads, 0, self._head_dim), np.float32)
        return Cache([OrtValue.ortvalue_from_numpy(nothing, self._device, 0) for _ in self._past], np.zeros((batch, 0), np.int64))

    def cache_of(self, values: Sequence[Logits]) -> Cache:
        """A cache of keys and values that were taken out of another one, each [batch, kv_heads, past, head_dim]; nothing is hidden."""
        arrays = [np.ascontiguousarray(value) for value in values]
        return Cache([self.placed(array) for array in arrays], np.ones(arrays[0].shape[:3:2], np.int64))

    def step(self, input_ids: Ids, cache: Cache, mask: Ids | None = None) -> tuple[Logits, Cache]:
        """Feed tokens after those in the cache.

        Args:
            input_ids: [batch, sequence].
            cache: what came before; itself left as it is.
            mask: [batch, sequence], 0 for padding; None where every token counts. A decoder that is `in_place` takes no padding.

        Returns:
            Logits [batch, sequence, vocabulary], those at padding without meaning, and the grown cache.
        """
        from onnxruntime import OrtValue

        if self.in_place:
            assert mask is None or bool(mask.all()), "padding is for the exported graph"
            return self._step_in_place(input_ids, cache)
        seen = np.concatenate([cache.mask, np.ones_like(input_ids) if mask is None else mask], axis=1)
        positions = np.maximum(np.cumsum(seen, axis=1) - 1, 0)[:, cache.length :]
        binding = self._session.io_binding()
        feeds = {"input_ids": input_ids, "attention_mask": seen, "position_ids": positions}
        held = {name: OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array, np.int64)) for name, array in feeds.items()}
        for name, value in held.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in zip(self._past, cache.values, strict=True):
            binding.bind_ortvalue_input(name, value)
        binding.bind_output("logits", "cpu")
        for name in self._present:
            binding.bind_output(name, self._device)
        self._session.run_with_iobinding(binding)
        logits, *grown = binding.get_outputs()
        return logits.numpy(), Cache(grown, seen)

    def read(self, input_ids: Ids, cache: Cache) -> tuple[Logits, Cache]:
        """Feed a prompt's tokens, [batch, sequence] without padding, after those in the cache, which itself is left as it is.

        Returns:
            Logits of what follows alone, [batch, vocabulary], and the grown cache. A graph that lets it be chosen computes no others.
        """
        if not self._chooses:
            logits, grown = self.step(input_ids, cache)
        else:
            logits, grown = self._step_in_place(input_ids, cache, input_ids.shape[1] - 1)
        return logits[:, -1], grown

    def _step_in_place(self, input_ids: Ids, cache: Cache, first: int = 0) -> tuple[Logits, Cache]:
        """On a copy of the cache with room for the new tokens: for prompts; whoever writes keeps buffers (`timbre.export.slots`)."""
        (batch, sequence), after = input_ids.shape, cache.length + input_ids.shape[1]
        values = []
        for value in cache.values:
            buffer = np.empty((batch, self._kv_heads, after, self._head_dim), np.float32)
            buffer[:, :, : cache.length] = value.numpy()
            values.append(self.placed(buffer))
        logits = np.empty((batch, sequence - first, self.logits_width), np.float32)
        lengths, longest = np.full(batch, after - 1, np.int32), np.array(after, np.int32)
        self.run_in_place(self.bind_in_place(np.ascontiguousarray(input_ids, np.int64), lengths, longest, values, logits, first))
        return logits, Cache(values, np.ones((batch, after), np.int64))


def left_padded(rows: Sequence[Sequence[int]]) -> tuple[Ids, Ids]:
    """Token rows of unequal length as [batch, longest] with padding before them, and the mask that hides it.

    The padding is token 0, which means nothing: padding is known by the mask alone.
    """
    longest = max(len(row) for row in rows)
    ids = np.zeros((len(rows), longest), np.int64)
    mask = np.zeros((len(rows), longest), np.int64)
    for number, row in enumerate(rows):
        if row:
            ids[number, longest - len(row) :] = row
            mask[number, longest - len(row) :] = 1
    return ids, mask


def greedy(decoder: Decoder, rows: Sequence[Sequence[int]], new_tokens: int, vocab_size: int) -> Ids:
    """The most likely continuation of each row, [batch, new_tokens]; an end token does not stop it."""
    ids, mask = left_padded(rows)
    logits, cache = decoder.step(ids, decoder.empty_cache(len(rows)), mask)
    chosen: list[Ids] = []
    for _ in range(new_tokens):
        chosen.append(np.argmax(logits[:, -1, :vocab_size], axis=-1).astype(np.int64))
        if len(chosen) < new_tokens:
            logits, cache = decoder.step(chosen[-1][:, None], cache)
    return np.stack(chosen, axis=1)
