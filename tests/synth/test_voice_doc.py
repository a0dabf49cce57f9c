"""The examples in docs/voice.md run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def test_examples_of_the_page_run_one_after_another() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/voice.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(examples) >= 5
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, "docs/voice.md", "exec"), names)
