"""Prometheus metrics of one server, in a registry of its own so that two servers can run in one process."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.jobs = Counter("greenroom_jobs", "Jobs ended", ["type", "outcome"], registry=self.registry)
        self.first_text = Histogram(
            "greenroom_turn_first_text_seconds",
            "From a turn's start to its first text",
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.first_audio = Histogram(
            "greenroom_turn_first_audio_seconds",
            "From a turn's start to its first sound",
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.queued = Histogram(
            "greenroom_job_queued_seconds",
            "From a job's acknowledgement to its start",
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.interrupts = Counter("greenroom_interrupts", "Turns interrupted", registry=self.registry)
        self.sessions = Gauge("greenroom_sessions", "Sessions in memory", registry=self.registry)
        self.engines = Gauge("greenroom_engines", "Engines loaded", registry=self.registry)
