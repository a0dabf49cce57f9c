const sounds = readData("sounds");

/* Marks differ in shape as well as in colour. */
const SHAPES = {
  target: "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0 -12 0Z", start: "M-5 -5H5V5H-5Z", drum: "M0 -6.5L6 5H-6Z",
  tuned: "M-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0 -11 0Z", constellation: "M0 -7L7 0L0 7L-7 0Z",
};
for (const path of document.querySelectorAll("[data-shape]")) path.setAttribute("d", SHAPES[path.dataset.shape] ?? SHAPES.tuned);

for (const button of document.querySelectorAll(".sound")) {
  button.addEventListener("click", () => {
    if (playing === button) player.pause();
    else play(sounds.players[button.dataset.group][Number(button.dataset.number)], button);
  });
}

const map = byId("map");
const marks = [];
let chosen = null;
if (map) {
  const SVG = "http://www.w3.org/2000/svg";
  const [width, height, margin] = [1000, 640, 24];
  for (const [number, cloud] of sounds.map.entries()) {
    const layer = document.createElementNS(SVG, "g");
    cloud.layer = layer;
    cloud.places.forEach(([across, up], sound) => {
      const mark = { cloud, sound, x: margin + across * (width - 2 * margin), y: height - margin - up * (height - 2 * margin) };
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("class", `dot ${cloud.name}`);
      path.setAttribute("d", SHAPES[cloud.name] ?? SHAPES.tuned);
      path.setAttribute("transform", `translate(${mark.x.toFixed(1)} ${mark.y.toFixed(1)})`);
      mark.path = path;
      layer.append(path);
      marks.push(mark);
    });
    map.append(layer);
    const toggle = document.querySelector(`.toggle[data-cloud="${number}"]`);
    toggle.addEventListener("click", () => {
      layer.classList.toggle("hidden");
      toggle.setAttribute("aria-pressed", String(!layer.classList.contains("hidden")));
    });
  }
  const ring = document.createElementNS(SVG, "circle");
  ring.setAttribute("class", "ring hidden");
  ring.setAttribute("r", "12");
  map.append(ring);

  const visible = () => marks.filter((mark) => !mark.cloud.layer.classList.contains("hidden"));
  const choose = (mark) => {
    chosen = mark;
    ring.classList.remove("hidden");
    ring.setAttribute("cx", mark.x);
    ring.setAttribute("cy", mark.y);
    byId("here").textContent = `${mark.cloud.name}: ${mark.cloud.labels[mark.sound]}`;
    play(mark.cloud.audio[mark.sound], ring);
  };
  const nearest = (candidates, distance) => {
    let best = null, least = Infinity;
    for (const mark of candidates) {
      const far = distance(mark);
      if (far < least) [best, least] = [mark, far];
    }
    return [best, least];
  };
  map.addEventListener("click", (event) => {
    const box = map.getBoundingClientRect();
    const scale = width / box.width;
    const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    const [mark, far] = nearest(visible(), (one) => Math.hypot(one.x - x, one.y - y));
    if (mark && far < 24 * Math.max(1, scale)) choose(mark);
  });
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  map.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    if (arrow) {
      event.preventDefault();
      const from = chosen ?? { x: width / 2, y: height / 2 };
      const [mark] = nearest(visible().filter((one) => one !== chosen), (one) => {
        const along = (one.x - from.x) * arrow[0] + (one.y - from.y) * arrow[1];
        const aside = Math.abs((one.x - from.x) * arrow[1]) + Math.abs((one.y - from.y) * arrow[0]);
        return along > 0 && aside <= 2 * along ? along + 2 * aside : Infinity;
      });
      if (mark) choose(mark);
    } else if (event.key === " " || event.key === "Enter") {
      event.preventDefault();
      if (chosen) choose(chosen);
    }
  });
}
