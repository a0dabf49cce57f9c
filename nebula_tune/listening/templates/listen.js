const test = readData("test");
const audio = readData("audio");
const STAGES = ["intro", "volume", "trial", "browse", "done"];
const SLOT = "nebula-tune-listening-" + test.key;
const fresh = () => ({
  stage: "intro", at: 0, listener: "", started: null, finished: null, answers: {},
  browse: { vote: null, one_plays: 0, two_plays: 0, heard: { one: [], two: [] } },
});
let state = fresh();
let since = performance.now(); /* when this trial was shown */

function remember() {
  try {
    localStorage.setItem(SLOT, JSON.stringify(state));
  } catch {
    byId("no-memory").hidden = false;
  }
}
function recall() {
  try {
    const kept = JSON.parse(localStorage.getItem(SLOT));
    if (kept && STAGES.includes(kept.stage)) state = kept;
  } catch { /* nothing is kept, or nothing that can be read */ }
  remember();
}

const trial = () => test.trials[state.at];
function answer() {
  const id = trial().id;
  return state.answers[id] ??= { like: null, keep: null, left_plays: 0, right_plays: 0, seconds: 0 };
}
const bothHeard = () => answer().left_plays > 0 && answer().right_plays > 0;

function show(stage, focus = true) {
  state.stage = stage;
  for (const name of STAGES) byId(name).hidden = name !== stage;
  byId("download-early").hidden = stage === "intro" || stage === "done";
  refresh();
  if (focus) byId(stage + "-title").focus();
  remember();
}
function press(id, on) {
  byId(id).setAttribute("aria-pressed", String(on));
}
function refresh() {
  const count = test.trials.length;
  const text = { trial: `Pair ${state.at + 1} of ${count}`, browse: "Last part", done: "Finished" }[state.stage] ?? "";
  byId("progress").textContent = text;
  if (state.stage === "trial") {
    byId("trial-title").textContent = text;
    const given = answer();
    for (const question of ["like", "keep"]) {
      for (const side of ["left", "right"]) {
        press(`${question}-${side}`, given[question] === side);
        byId(`${question}-${side}`).disabled = !bothHeard();
      }
    }
    byId("hint").textContent = bothHeard() ? "You may play them again." : "Play both first.";
    byId("next").disabled = !(given.like && given.keep);
  }
  if (state.stage === "browse") {
    for (const which of ["one", "two"]) {
      const heard = state.browse.heard[which];
      byId("heard-" + which).textContent = `${heard.length} of ${test.browse[which].length} heard`;
      press("vote-" + which, state.browse.vote === which);
      byId("vote-" + which).disabled = !(state.browse.heard.one.length && state.browse.heard.two.length);
    }
    for (const cell of document.querySelectorAll(".cell")) {
      cell.classList.toggle("heard", state.browse.heard[cell.dataset.set].includes(Number(cell.dataset.number)));
    }
    byId("finish").disabled = !state.browse.vote;
  }
}

async function playSide(side) {
  const at = state.at;
  if (!await play(audio[trial()[side]], byId("play-" + side)) || at !== state.at) return;
  answer()[side + "_plays"] += 1;
  refresh();
  remember();
}
function choose(question, side) {
  if (!bothHeard()) return;
  answer()[question] = side;
  refresh();
  remember();
}
function next() {
  const given = answer();
  if (!(given.like && given.keep)) return;
  player.pause();
  given.seconds = Math.round((performance.now() - since) / 100) / 10;
  since = performance.now();
  if (state.at + 1 < test.trials.length) {
    state.at += 1;
    show("trial");
  } else if (test.browse) {
    show("browse");
  } else {
    end();
  }
}

async function playCell(which, number) {
  const cell = document.querySelector(`.cell[data-set="${which}"][data-number="${number}"]`);
  if (!await play(audio[test.browse[which][number]], cell)) return;
  state.browse[which + "_plays"] += 1;
  if (!state.browse.heard[which].includes(number)) state.browse.heard[which].push(number);
  refresh();
  remember();
}
function playNext(which) {
  const unheard = test.browse[which].findIndex((_, number) => !state.browse.heard[which].includes(number));
  playCell(which, unheard >= 0 ? unheard : state.browse[which + "_plays"] % test.browse[which].length);
}
function vote(which) {
  if (byId("vote-" + which).disabled) return;
  state.browse.vote = which;
  refresh();
  remember();
}
function finish() {
  if (state.browse.vote) end();
}
function end() {
  player.pause();
  state.finished = new Date().toISOString();
  show("done");
}

function ballot() {
  const answers = test.trials
    .map(({ id }) => ({ id, ...state.answers[id] }))
    .filter(({ like, keep }) => like && keep);
  const { vote: chosen, one_plays, two_plays } = state.browse;
  return {
    format: "nebula-tune listening ballot 1", key: test.key, listener: state.listener, started: state.started,
    finished: state.finished, answers, browse: { vote: chosen, one_plays, two_plays },
  };
}
function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(ballot(), null, 1) + "\n"], { type: "application/json" }));
  const who = state.listener.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
  link.download = ["ballot", who, test.key.slice(0, 8)].filter(Boolean).join("-") + ".json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function playVolume() {
  if (await play(audio[test.volume], byId("play-volume"))) byId("volume-done").disabled = false;
}
function begin() {
  state.listener = byId("listener").value.trim();
  state.started = new Date().toISOString();
  show("volume");
}
function volumeDone() {
  if (byId("volume-done").disabled) return;
  player.pause();
  since = performance.now();
  show("trial");
}

const KEYS = {
  volume: { 1: playVolume, Enter: volumeDone },
  trial: {
    1: () => playSide("left"), 2: () => playSide("right"), 3: () => choose("like", "left"), 4: () => choose("like", "right"),
    5: () => choose("keep", "left"), 6: () => choose("keep", "right"), Enter: next,
  },
  browse: { 1: () => playNext("one"), 2: () => playNext("two"), 3: () => vote("one"), 4: () => vote("two"), Enter: finish },
  done: { Enter: download },
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const name = event.key === "Enter" ? "Enter" : /^(?:Digit|Numpad)([1-6])$/.exec(event.code)?.[1] ?? event.key;
  /* Enter on a button is that button's own */
  if (name === "Enter" && event.target.closest("button, input")) return;
  const action = KEYS[state.stage]?.[name];
  if (action && event.target.tagName !== "INPUT") {
    event.preventDefault();
    action();
  }
});

const CLICKS = {
  begin, "play-volume": playVolume, "volume-done": volumeDone, next, finish, download, "download-early": download,
  "play-left": KEYS.trial[1], "play-right": KEYS.trial[2], "vote-one": KEYS.browse[3], "vote-two": KEYS.browse[4],
};
for (const question of ["like", "keep"]) {
  for (const side of ["left", "right"]) CLICKS[`${question}-${side}`] = () => choose(question, side);
}
for (const [id, action] of Object.entries(CLICKS)) byId(id).addEventListener("click", action);
for (const cell of document.querySelectorAll(".cell")) {
  cell.addEventListener("click", () => playCell(cell.dataset.set, Number(cell.dataset.number)));
}
byId("listener").addEventListener("keydown", (event) => {
  if (event.key === "Enter") begin();
});
recall();
show(state.stage, false);
