"""Names and words from outside: visible wherever they leave, and never markup; figures are never cut."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from nebula_tune.cli.app import main
from nebula_tune.cli.console import RunConsole, print_analysis, print_embeddings, print_reach, print_studies
from nebula_tune.corpus.folder import find_audio, fingerprint, read_audio
from nebula_tune.corpus.prepare import Prepare
from nebula_tune.corpus.source import Source
from nebula_tune.embedding import make_embedding
from nebula_tune.embedding.embed import embed_source
from nebula_tune.errors import StudyError
from nebula_tune.evaluate.plots import plain_label
from nebula_tune.html import SHARED, one_file
from nebula_tune.storage.schema import metadata, read_target, target_row, targets
from nebula_tune.synth.voice import Voice
from nebula_tune.terminal import Sheet, SheetColumn, plain_console
from nebula_tune.words import DEGRADING, json_text, kept, name_kept, printable
from tests.study.tiny import make_target

LATIN = os.fsdecode(b"caf\xe9")
HOSTILE = {
    LATIN: r"caf\xe9",
    "x\x1b[31m": r"x\x1b[31m",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "two\nlines\r\t": r"two\nlines\r\t",
    "\u202egpj.wav": r"\u202egpj.wav",
    "a\u200bb\ufeff\u2066\u3164": r"a\u200bb\ufeff\u2066\u3164",
    "\x9b31m\x85\u2028": r"\x9b31m\x85\u2028",
    "\ud800": r"\ud800",
    "[/red] [bold]": "[/red] [bold]",
    "Café 日本 🎛": "Café 日本 🎛",
}


@pytest.mark.parametrize(("name", "visible"), HOSTILE.items(), ids=map(ascii, HOSTILE))
def test_names_are_made_visible_and_what_is_readable_stays(name: str, visible: str) -> None:
    assert printable(name) == visible
    assert json.loads(json_text({name: [name, 1, None]})) == {visible: [visible, 1, None]}
    assert str(StudyError(f"no study {name}")) == f"no study {visible}"


@given(st.text(st.characters(exclude_categories=[])))
def test_printable_text_can_be_written_and_is_printable_already(text: str) -> None:
    visible = printable(text)
    visible.encode()
    assert printable(visible) == visible


@given(st.binary(max_size=20).filter(lambda name: b"\0" not in name))
def test_a_name_of_any_bytes_is_kept_by_a_database(name: bytes) -> None:
    for text in (os.fsdecode(name), f"bytes:{os.fsdecode(name)}"):
        kept(text).encode()
        assert name_kept(kept(text)) == text


def test_bytes_of_another_locale_are_read_as_utf8() -> None:
    assert printable("é".encode().decode("ascii", "surrogateescape")) == "é"


def test_sounds_with_names_of_any_bytes_are_read(tmp_path: Path) -> None:
    names = [b"caf\xe9.wav", b"\xff\xfe.wav", b"a\nb\x1b.wav", "日本.wav".encode()]
    sound = 0.5 * np.sin(np.arange(4000, dtype=np.float32) / 8)
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            soundfile.write(file, sound, 8000, format="WAV")
    paths = find_audio(tmp_path)
    assert sorted(os.fsencode(path.name) for path in paths) == sorted(names)
    assert all(len(read_audio(path, 8000)) == 4000 and fingerprint(path, tmp_path).key for path in paths)


def sheet(name: str) -> Sheet:
    columns = (SheetColumn("sounds of", "left", folds=True), *map(SheetColumn, ("eq. 2", "95 % interval", "n")))
    table = Sheet(columns, f"of {name}")
    table.add(name, "21714.3", "12036.4 … 15520.6", "1024")
    table.add("start", "9.5")
    return table


@pytest.mark.parametrize("width", [8, 20, 40, 50, 60, 80, 200])
def test_figures_are_whole_in_any_width(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), markup=False, emoji=False)
    name = "a [bold]long[/bold] name :bomb: that has to be folded in many lines"
    sheet(name).show(console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(figure in text for figure in ("21714.3", "12036.4 … 15520.6", "1024", "9.5"))
    if width >= 40:
        assert max(map(len, text.splitlines())) <= max(width, len(f"sounds of: {name}"))


@pytest.mark.parametrize(("name", "visible"), HOSTILE.items(), ids=map(ascii, HOSTILE))
def test_data_is_never_markup_in_a_table(name: str, visible: str, capsys: pytest.CaptureFixture[str]) -> None:
    sheet(name).show(plain_console(width=100))
    assert capsys.readouterr().out.count(visible) == 2


def analysis(name: str) -> dict[str, object]:
    side = {"name": name, "passed_over": 0}
    count = {"n": 20, "wins": 15, "share": 0.75, "ci95": [0.53, 0.89], "p_value": 0.041}
    both = {"like": count, "keep": count}
    listener = both | {
        "listener": name, "finished": True, "browse": "A", "repeats": {"like": 1, "keep": 2, "n": 3},
        "catches": {"failed": 0, "n": 4},
    }  # fmt: skip
    strengths = [{"name": name, "strength": 1.25, "ci95": [0.5, 2.0], "wins": 3, "n": 9, "set": 0}] * 3
    test = {"a": side, "b": side, "power_text": name, "target_kind": name, "listeners": [listener], "pooled": both}
    return {"tests": [test, test], "among": [], "strengths": {"like": strengths}}


def reports(name: str) -> dict[str, object]:
    row = {"mmd": 21714.3, "mmd_unbiased": 21000.7, "ci95": [20000.1, 22000.2], "n": 1024, "m": 8}
    row |= {"shares": {"silent": 0.125, "clipped": 0.25}}
    told = {"real_sounds": 8, "real": name, "network": {name: 0.987}, "linear": {name: 0.876}}
    return {
        "study": name, "nebula": f"{name}.json", "page": f"{name}.html", "embedding": name, "distance": name,
        "target": {"held_out": 8, "grouped_by": "file"}, "heldout": {name: row, "floor": row}, "gap_closed": 0.5,
        "told_apart": told, "doubts": [name], "spread": {name: {"value": 11714.3, "ci95": [10000.1, 12000.2]}},
        "other": {"embedding": name, "heldout": {name: row}},
    }  # fmt: skip


def shown(kind: str, name: str) -> None:
    """What a command shows, with that name wherever one comes from outside."""
    if kind == "run":
        RunConsole(quiet=False, verbose=True).finish(reports(name))
    elif kind == "skipped":
        RunConsole(quiet=False, verbose=True).skipped([{"name": name, "reason": name}])
    elif kind == "listen":
        print_analysis(analysis(name), as_json=False)
    elif kind == "status":
        print_studies([{"study": name, "state": "running", "phase": name, "complete": 12345, "total": 67890,
                        "best": 21714.3, "trials_per_second": 1234.5, "owner": name}])  # fmt: skip
    elif kind == "reach":
        cluster = {"cluster": 1, "size": 123, "unreached": 45, "median_ratio": 12.34, "examples": [name, name]}
        print_reach({"target": name, "pool": 6144, "nebula": name, "clusters": [cluster], "unreached": 0.5,
                     "median_ratio": 1.25})  # fmt: skip
    else:
        print_embeddings([{"name": name, "dimensions": 18432, "sample_rate": 48000, "seconds": 4.0,
                           "licence": name, "ready": False, "seconds_a_sound": 0.1234}])  # fmt: skip


FIGURES = {
    "run": ["21714.3", "21000.7", "20000.1 … 22000.2", "0.987", "0.876", "11714.3", "12.5 %", "1024"],
    "skipped": [],
    "listen": ["15 of 20", "0.53 … 0.89", "0.041", "+1.25", "+0.50 … +2.00"],
    "status": ["12345/67890", "21714.3", "1234.50"],
    "reach": ["6144", "12.34", "123"],
    "embeddings": ["18432", "48000", "0.1234"],
}


@pytest.mark.parametrize("columns", ["40", "80", "160"])
@pytest.mark.parametrize("kind", FIGURES)
def test_all_commands_show_names_as_they_are_and_figures_whole(
    kind: str, columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    shown(kind, "[/red]\x1b[2J\u202e" + LATIN)
    text = "".join(capsys.readouterr())
    text.encode()
    assert not set(text) & {"\x1b", "\u202e", LATIN[-1]}
    assert "[/red]" in text
    assert [figure for figure in FIGURES[kind] if figure not in text] == []


def test_a_page_shows_every_name(tmp_path: Path) -> None:
    for suffix, text in {"html": "{{ text }}|{{ other|tojson }}|{{ pre }}", "css": "", "js": ""}.items():
        (tmp_path / f"p.{suffix}").write_text(text)
    page = one_file(tmp_path, "p", text=f"<b>{LATIN}\u202e", other=[1], pre="a\nb").decode()
    assert page.startswith(r"&lt;b&gt;caf\xe9\u202e|[1]|" + "a\nb") and SHARED.is_dir()


def test_a_picture_takes_no_name_for_a_formula() -> None:
    assert plain_label(f"$x$ {LATIN}") == r"\$x\$ caf\xe9"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_an_output_takes_every_character(encoding: str) -> None:
    raw = io.BytesIO()
    output = io.TextIOWrapper(raw, encoding, DEGRADING, write_through=True)
    console = Console(file=output, width=100, markup=False)
    sheet("日本 é … — ±").show(console)
    assert all(figure in raw.getvalue() for figure in (b"21714.3", b"15520.6"))
    assert b"12036.4 ... 15520.6" in raw.getvalue() or encoding in ("utf-8", "cp1252")


@pytest.mark.parametrize(
    ("before", "after"), [("strict", DEGRADING), ("surrogateescape", DEGRADING), ("replace", "replace")]
)
def test_the_command_line_degrades_its_outputs_unless_told_how(
    before: str, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = [io.TextIOWrapper(io.BytesIO(), "ascii", before) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", outputs[0])
    monkeypatch.setattr(sys, "stderr", outputs[1])
    monkeypatch.setattr(sys, "argv", ["nebula-tune", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert [output.errors for output in outputs] == [after, after]


@pytest.fixture
def hostile_folder(tmp_path: Path) -> Path:
    """17 sounds and two files that are none, by names of any bytes, in a folder with such a name."""
    (tmp_path / "a[").mkdir()  # the slash of markup's end parts folders
    folder = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"a[/red] \xe9")))
    make_target(tmp_path / "sounds", 17).rename(folder)
    (folder / "00.wav").rename(folder / os.fsdecode(b"\xe9.wav"))
    for name in (b"caf\xe9\n.wav", b"\x1b]0;x\x07\xe2\x80\xae.wav"):
        (folder / os.fsdecode(name)).write_bytes(b"no sound")
    return folder


def test_a_command_ends_well_where_the_locale_is_c(hostile_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nebula_tune.cli", "compare", str(hostile_folder), str(hostile_folder.parent)]
    environment = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "COLUMNS": "40"}
    options = ["--trials", "5", "--csv", "table.csv", "--indiv", "files.csv"]
    done = subprocess.run([*command, *options], cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert rb"\x1b]0;x\x07\u202e.wav" in done.stderr and rb"caf\xe9\n.wav" in done.stderr
    assert rb"a[/red] \xe9" in done.stdout and not set(done.stdout + done.stderr) & {0x1B, 0xE9}
    assert r"a[/red] \xe9" in (tmp_path / "table.csv").read_text(encoding="utf-8")
    assert r"\xe9.wav" in (tmp_path / "files.csv").read_text(encoding="utf-8")


def test_a_target_of_hostile_names_is_kept_and_opened_again(hostile_folder: Path) -> None:
    source = Source.parse(str(hostile_folder))
    embedded = embed_source(source, make_embedding("logmel"), Prepare.ONSET, Voice, 0)
    assert len(embedded.keys) == 17 and len(embedded.skipped) == 2
    sounds = source.sounds(embedded.names, Voice, 8000, 0.5)
    assert len(sounds) == 17
    target = {"source": source.text, "content": embedded.content, "usable": 17, "held_out": 8, "groups": 17}
    target |= {"grouped_by": "file", "skipped": [{"name": lost.name, "reason": ""} for lost in embedded.skipped]}
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(targets.insert().values(**target_row("t", target)))
        assert read_target(connection, "t") == target
    engine.dispose()
    assert Source.parse(str(target["source"])).exists
