"""How a run gets on, for Prometheus to read: its trials, rate, best value, workers and phase, while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from nebula_tune.serving import Gate, is_local, listening
from nebula_tune.study.coordinator import Coordinator
from nebula_tune.tuning.options import ExecutionOptions
from nebula_tune.words import printable

FLAGS = ("--metrics-port", "--metrics-host")


@dataclass(eq=False)
class Metrics(Collector):
    """What is told of a run; whoever asks has it as it is at that moment.

    Attributes:
        study: the study's name.
        stage: of the run: start (its target is read), workers (they are started or waited for), search, fit, judge.
        coordinator: runs the study's trials; None until it does.
    """

    study: str
    stage: str = "start"
    coordinator: Coordinator | None = None

    def collect(self) -> Iterator[Metric]:
        """Everything, as Prometheus takes it."""
        coordinator = self.coordinator
        searching = coordinator is not None and self.stage == "search"
        phase = coordinator.phase if coordinator and searching else self.stage
        yield InfoMetricFamily("nebula_tune_phase", "What the run does.", self._labelled({"phase": phase}))
        workers = coordinator.executor.workers if coordinator else 0
        yield self._gauge("workers", "Workers that score trials.", workers)
        waiting = workers == 0 if searching else self.stage == "workers"
        yield self._gauge("waiting", "1 while the run waits for a worker, else 0.", waiting)
        if coordinator is None:
            return
        trials = GaugeMetricFamily("nebula_tune_trials", "Trials in the study by state.", labels=("study", "state"))
        for state, count in coordinator.counts.items():
            trials.add_metric((printable(self.study), state), count)
        yield trials
        yield self._gauge("trials_per_second", "Trials scored a second since the run began.", coordinator.rate)
        if (best := coordinator.best) is not None:
            yield self._gauge("best", "Value of the best trial with decided flags.", best)

    def _labelled(self, labels: dict[str, str]) -> dict[str, str]:
        return {"study": printable(self.study), **labels}

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        gauge = GaugeMetricFamily(f"nebula_tune_{name}", text, labels=("study",))
        gauge.add_metric((printable(self.study),), float(value))
        return gauge


@contextmanager
def measured(options: ExecutionOptions, study: str, note: Callable[[str], None]) -> Iterator[Metrics]:
    """A run's metrics, served while inside where the options say so.

    Args:
        options: the run's, with the port and address to listen on.
        study: the study's name.
        note: told where the metrics are.

    Raises:
        SettingsError: where the port is not free, or the address not this machine's.
    """
    metrics = Metrics(study)
    if options.metrics_port is None:
        yield metrics
        return
    registry = CollectorRegistry()
    registry.register(metrics)
    host, app = options.metrics_host, make_wsgi_app(registry)
    # Where others are to read it they ask by names that only they know; on loopback no page elsewhere may.
    app = Gate(app, [host], "ask for it as localhost") if is_local(host) else app
    with listening(app, host, options.metrics_port, FLAGS) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
        thread.start()
        try:
            note(f"metrics: http://{host}:{server.server_port}/metrics")
            yield metrics
        finally:
            server.shutdown()
            thread.join()
