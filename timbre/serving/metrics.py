"""What `/metrics` tells: requests, tokens, waiting and writing, versions. Labels are routes and names, never what a client sent."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from timbre.serving.champions import Styles
    from timbre.serving.watch import Watch

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The counters of one server, and gauges that are read when they are asked for."""

    def __init__(self, styles: "Styles", watch: "Watch | None" = None) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        by_version = ("model", "version")
        counted = partial(Counter, registry=self._registry)
        timed = partial(Histogram, registry=self._registry, buckets=_SECONDS)
        self.requests = counted("timbre_requests", "Requests answered, by route and status.", ("route", "status"))
        self.prompt_tokens = counted("timbre_prompt_tokens", "Tokens read.", by_version)
        self.written_tokens = counted("timbre_completion_tokens", "Tokens written.", by_version)
        self.finished = counted("timbre_texts", "Texts written, by how they ended.", (*by_version, "finish"))
        self.seconds = timed("timbre_request_seconds", "From the headers to the answer's end.", ("route",))
        self.first = timed("timbre_first_piece_seconds", "From the whole request to the first text.", ("model",))
        self.queued = timed("timbre_queue_seconds", "From the whole request until its prompt was read.", ("model",))
        self.in_flight = 0
        self._registry.register(_Now(styles, self, watch))
        if watch is not None:
            self._registry.register(_Watched(watch))

    def page(self) -> bytes:
        """The page in Prometheus' text format."""
        return generate_latest(self._registry)


class _Now(Collector):
    """What is so at the moment of asking."""

    def __init__(self, styles: "Styles", metrics: Metrics, watch: "Watch | None") -> None:
        self._styles, self._metrics, self._watch = styles, metrics, watch

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        yield GaugeMetricFamily("timbre_requests_in_flight", "Requests that are being answered.", self._metrics.in_flight)
        by_version = ("model", "version")
        rows = GaugeMetricFamily("timbre_rows", "Texts that are being written.", labels=by_version)
        waiting = GaugeMetricFamily("timbre_waiting", "Texts that wait for a row.", labels=by_version)
        cache = GaugeMetricFamily("timbre_cache_bytes", "Memory of keys and values.", labels=by_version)
        kept = GaugeMetricFamily("timbre_prefix_bytes", "Memory of kept beginnings of prompts.", labels=by_version)
        reused = CounterMetricFamily("timbre_prefix_reused_tokens", "Prompt tokens that were kept and not read again.", labels=by_version)
        pace = GaugeMetricFamily("timbre_step_seconds", "Seconds a step of all rows, smoothed.", labels=by_version)
        on_trial = [] if self._watch is None else [each.loaded for each in self._watch.challengers.all]
        for loaded in [*self._styles.all, *on_trial]:
            labels, writer = (loaded.champion.model, str(loaded.version)), loaded.writer
            rows.add_metric(labels, writer.active)
            waiting.add_metric(labels, writer.waiting)
            cache.add_metric(labels, writer.cache_bytes)
            if writer.prefixes is not None:
                kept.add_metric(labels, writer.prefixes.nbytes)
                reused.add_metric(labels, writer.prefixes.reused)
            pace.add_metric(labels, writer.pace)
        served_version = GaugeMetricFamily("timbre_champion_version", "The version that takes requests.", labels=("model",))
        trouble = GaugeMetricFamily("timbre_champion_not_served", "1 while the newest champion cannot be served.", labels=("model",))
        for loaded in self._styles.current:
            served_version.add_metric((loaded.champion.model,), loaded.version)
            trouble.add_metric((loaded.champion.model,), float(loaded.style in self._styles.troubles))
        yield from (rows, waiting, cache, kept, reused, pace, served_version, trouble)


class _Watched(Collector):
    """What was seen of champion and challenger of late, on every server of the home."""

    _FIGURES: ClassVar = (
        ("texts", "timbre_watched_texts", "Newest texts that are judged.", 1.0),
        ("error_rate", "timbre_watched_error_rate", "Share of them that broke off.", 1.0),
        ("style_distance", "timbre_watched_style_distance", "Distance from human text; 0 is human.", 1.0),
        ("style_error", "timbre_watched_style_error", "Standard error of that distance.", 1.0),
        ("first_ms", "timbre_watched_first_seconds", "Median until the first piece.", 0.001),
        ("token_ms", "timbre_watched_token_seconds", "Median of a token.", 0.001),
    )

    def __init__(self, watch: "Watch") -> None:
        self._watch = watch

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        figures = dict(self._watch.figures)
        for key, name, about, unit in self._FIGURES:
            gauge = GaugeMetricFamily(name, about, labels=("model", "version", "role"))
            for (model, version), row in figures.items():
                if row[key] is not None:
                    gauge.add_metric((model, str(version), row["role"]), unit * row[key])
            yield gauge
        share = GaugeMetricFamily(
            "timbre_trial_share", "Of the requests that a challenger is asked for.", labels=("model", "version", "role")
        )
        for each in self._watch.challengers.all:
            role = "shadow" if each.trial.shadow else "challenger"
            share.add_metric((each.loaded.champion.model, str(each.loaded.version), role), each.trial.share)
        yield share
