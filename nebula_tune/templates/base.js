"use strict";
const byId = (id) => document.getElementById(id);
const readData = (id) => JSON.parse(byId(id).textContent);

/* One player: a sound at a time, from the page's own bytes. */
const player = new Audio();
let playing = null;
function mark(element) {
  if (playing) playing.classList.remove("playing");
  playing = element;
  if (playing) playing.classList.add("playing");
}
for (const event of ["ended", "pause"]) player.addEventListener(event, () => mark(null));
/* Plays an MP3 given in base64; resolves once it sounds. */
async function play(base64, element) {
  player.pause();
  player.src = "data:audio/mpeg;base64," + base64;
  try {
    await player.play();
  } catch (error) {
    if (error.name === "AbortError") return false; /* another sound was asked for meanwhile */
    throw error;
  }
  mark(element);
  return true;
}
