"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Storage = Annotated[
    str,
    typer.Option(
        envvar="NEBULA_TUNE_STORAGE",
        show_envvar=False,
        help="Database of studies: any SQLite or PostgreSQL URL. [or NEBULA_TUNE_STORAGE in the environment]",
    ),
]
Artifacts = Annotated[
    str | None,
    typer.Option(
        envvar="NEBULA_TUNE_ARTIFACTS",
        show_envvar=False,
        help="Folder of the dashboard's sounds. [or NEBULA_TUNE_ARTIFACTS in the environment] "
        "[default: artifacts, beside the database]",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout, nothing else there.")]
Csv = Annotated[Path | None, typer.Option("--csv", help="Write the table to this file.")]
WeightsOption = Annotated[str | None, typer.Option(help="Weights file for the one embedding named.")]
DistanceOption = Annotated[str, typer.Option(help="Of two sounds' vectors: l1 (the paper's) or euclidean.")]
PanelOption = Annotated[
    str | None,
    typer.Option(
        "--panel", help="Which controls of Vital are drawn: a panel's name or YAML file. [default: vital-drum]"
    ),
]
Seed = Annotated[int, typer.Option(help="Everything random derives from it.")]
