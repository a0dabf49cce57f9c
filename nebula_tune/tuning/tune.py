"""The main job in Python. Imports nothing heavy: the command line takes its options from this signature."""

# Annotations stand here as they are, not as texts: inspect.signature(tune) shows them.
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nebula_tune.storage.paths import DEFAULT_URL

if TYPE_CHECKING:
    from nebula_tune.tuning.pipeline import Result
    from nebula_tune.tuning.reporter import Reporter


def tune(
    target: str | Path | None = None,
    reporter: "Reporter | None" = None,
    *,
    study: str = "auto",
    objective: str | None = None,
    embedding: str | None = None,
    distance: str | None = None,
    weights: str | None = None,
    trials: int | None = None,
    sounds: int | None = None,
    tune: Sequence[str] = (),
    freeze: Sequence[str] = (),
    start: str = "default",
    name: str | None = None,
    storage: str = DEFAULT_URL,
    workers: int | None = None,
    executor: str = "auto",
    ray_address: str | None = None,
    gpu_share: float = 1.0,
    task_timeout: float | None = None,
    ray_patience: float = 30.0,
    seed: int = 0,
    out: str | None = None,
    force: bool = False,
    time_limit: float | None = None,
    metrics_port: int | None = None,
    metrics_host: str = "127.0.0.1",
    group_by: str = "auto",
    against: str | None = None,
    synth: str = "voice",
    panel: str | None = None,
    target_sounds: int = 2000,
    log: str | None = None,
    artifacts: str | None = None,
    no_report: bool = False,
    constellation: bool | None = None,
    classes: bool = False,
) -> "Result":
    """Tune a nebula to a target; the same options, defaults and files as ``nebula-tune run``.

    Raises NebulaTuneError; KeyboardInterrupt and StopRequested leave the study resumable.

    Args:
        target: What to sound like: a folder of audio, a nebula's file or name (default, drum), or white-noise.
        reporter: Told of all that the run does; nobody is, where it is None.
        study: A shipped study (laptop, full, paper), a YAML file, or auto: full or full-aisfx where there is a GPU and
            their weights, else laptop.
        objective: match (be near the target) or diversity (be varied). [default: the study's]
        embedding: The ear, by name; or several with weights: logmel=1,mss=0.5. [default: the study's]
        distance: l1, euclidean or gaussian, between sounds' vectors. [default: the study's]
        weights: Weights file for the embedding.
        trials: Trials in all; phases are scaled in proportion. [default: the study's]
        sounds: Sounds a trial. [default: the study's]
        tune: Only parameters that match may change, like 'vco_*.*'.
        freeze: Parameters that match stay as they are.
        start: Nebula to start from.
        name: Name of the study; one that exists is resumed. [default: from the target]
        storage: Database of studies: any SQLite or PostgreSQL URL.
        workers: Scoring workers. [default: one per GPU, else 1]
        executor: ray, inline (no Ray), or auto: ray for GPUs or workers.
        ray_address: Join the Ray cluster there.
        gpu_share: Share of a GPU that each worker takes.
        task_timeout: Seconds a worker may take for a task before it is taken to hang. [default: 60, and more where
            tasks take long]
        ray_patience: Seconds that the head of a Ray cluster which does not answer is waited for.
        seed: Everything random derives from it.
        out: The exported nebula. [default: nebulae/NAME.json]
        force: Replace ``out`` even if it is not this study's.
        time_limit: Stop cleanly after so many minutes; resumable.
        metrics_port: Tell Prometheus how the run gets on, at this port's /metrics, until it ends; 0 for any free port.
        metrics_host: Address where ``metrics_port`` listens; it has no login.
        group_by: What is held out together: folder, file, or auto (folder where at least 30 folders hold several
            sounds).
        against: A second real corpus for the score card.
        synth: The synth's architecture: voice, fm, vital (needs vita, GPL-3), or dx7 (needs dexed-py,
            GPL-3).
        panel: Which controls of Vital are drawn: a shipped panel (vital-drum, vital-synth) or a YAML file. [default:
            vital-drum]
        target_sounds: Sounds of a nebula or white-noise as target.
        log: Log file, one JSON line an event. [default: beside the database]
        artifacts: Folder of the dashboard's sounds. [default: artifacts, beside the database]
        no_report: Make no page of the finished study.
        constellation: Also fit a constellation on the tuned nebula: parameters that go together. [default: the
            study's]
        classes: The target's sub-folders name classes; a constellation's atoms carry them.
    """
    given = dict(locals())  # first of all: the parameters and nothing else
    from nebula_tune.tuning.options import Options
    from nebula_tune.tuning.pipeline import run
    from nebula_tune.tuning.reporter import Silent

    given["target"] = None if target is None else str(target)
    return run(Options.of(given), reporter or Silent())
