"""What the door counts, read by Prometheus when it asks: nothing is paid for it while events are sent."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(slots=True)
class DoorCounts:
    events_sent: int = 0
    bytes_sent: int = 0
    """payload, before base64 and framing"""
    events_received: int = 0
    bytes_received: int = 0
    dropped: int = 0
    """packets for one client that it had no room for"""
    too_slow: int = 0
    """clients closed because they did not keep up"""
    refused: int = 0
    """connections refused"""
    busy: int = 0
    """events refused because the client had sent too many"""
    malformed: int = 0
    """frames that were no packets"""


class DoorCollector(Collector):
    def __init__(self, counts: DoorCounts, clients: Callable[[], int]) -> None:
        self._counts = counts
        self._clients = clients

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("greenroom_clients", "Socket.IO clients connected", self._clients())
        counts = self._counts
        for name, help_text, value in (
            ("events_sent", "Socket.IO packets sent", counts.events_sent),
            ("bytes_sent", "Bytes of Socket.IO payload sent", counts.bytes_sent),
            ("events_received", "Socket.IO events received", counts.events_received),
            ("bytes_received", "Bytes of Socket.IO payload received", counts.bytes_received),
            ("packets_dropped", "Packets dropped because their client did not read", counts.dropped),
            ("clients_too_slow", "Clients closed because they did not read", counts.too_slow),
            ("connections_refused", "Connections refused", counts.refused),
            ("events_busy", "Events refused because their client sent too many", counts.busy),
            ("frames_malformed", "Frames that were no Socket.IO packets", counts.malformed),
        ):
            yield CounterMetricFamily(f"greenroom_{name}", help_text, value)
