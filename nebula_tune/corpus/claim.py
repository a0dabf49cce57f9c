"""A folder that one command fills, over several calls: what it is for is written in it first."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from nebula_tune.documents import read_json
from nebula_tune.errors import CorpusError
from nebula_tune.files import create_atomically


def claim_folder(claim: Path, settings: Mapping[str, Any], *, holds: str, may_differ: Collection[str] = ()) -> None:
    """Say in a folder what it is for; of two processes one does it. A folder that is for the same is gone on with.

    Args:
        claim: the file that says it, in the folder.
        settings: what the folder is for, as JSON.
        holds: what such a folder holds, in words.
        may_differ: settings that may be others from call to call.

    Raises:
        CorpusError: for a folder that is for something else, with the settings that differ.
        StorageError: where the file cannot be written.
    """
    folder = claim.parent
    if not claim.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not claim.exists():
            raise CorpusError(f"{folder} holds something else; give an empty or new folder with --out")
        if create_atomically(claim, (json.dumps(dict(settings), indent=1) + "\n").encode()):
            return
    try:
        content = read_json(claim)
        differing = [key for key, value in settings.items() if content[key] != value and key not in may_differ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{claim} cannot be read as a data set's; give another --out") from error
    if differing:
        raise CorpusError(f"{folder} holds {holds} with another {', '.join(differing)}; give another --out")
