// The page: picks a reading, plays it, and keeps the 3D view, the timeline and the chart at the same moment.
import { Chart, percent, seriesColour } from "./chart.js";
import { openReading } from "./data.js";
import { LAYERS, Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);
const element = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const seconds = (value) => `${value.toFixed(2)} s`;
const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
const END_PAUSE = 1.1; // seconds to rest at the end before the loop starts again

const page = JSON.parse($("palmist-data").textContent);
const readings = page.readings.map((packed) => () => openReading(packed)); // opened when shown
const videos = new Map();
const state = { index: -1, reading: null, moments: [], t: 0, playing: false, speed: 1, rest: 0, before: 0 };
let stage = null;
let chart = null;
let bars = [];

/** The index of the last moment (observed or future frame) at or before t. */
function frameAt(t) {
  let frame = 0;
  while (frame + 1 < state.moments.length && state.moments[frame + 1] <= t + 1e-6) frame++;
  return frame;
}

function seek(t) {
  const { reading } = state;
  state.t = Math.min(reading.end, Math.max(reading.start, t));
  stage?.update(state.t);
  chart.move(state.t);
  showMoment();
}

function play() {
  if (state.t >= state.reading.end - 1e-6) seek(state.reading.start);
  state.playing = true;
  state.before = 0;
  state.rest = 0;
  showPlaying();
}

function pause() {
  state.playing = false;
  showPlaying();
}

function stepFrame(by) {
  pause();
  seek(state.moments[Math.min(state.moments.length - 1, Math.max(0, frameAt(state.t) + by))]);
}

function tick(now) {
  requestAnimationFrame(tick);
  if (state.playing) {
    const passed = state.before ? Math.min(0.1, (now - state.before) / 1000) : 0;
    state.before = now;
    if (state.t >= state.reading.end - 1e-6) {
      state.rest += passed;
      if (state.rest > END_PAUSE) {
        state.rest = 0;
        seek(state.reading.start);
      }
    } else seek(state.t + passed * state.speed);
  }
  stage?.draw();
}

function showPlaying() {
  $("play").setAttribute("aria-label", state.playing ? "Pause" : "Play");
  $("play").classList.toggle("playing", state.playing);
}

function showMoment() {
  const { reading, t } = state;
  const future = t > reading.boundary + 1e-6;
  const phase = $("phase");
  phase.classList.toggle("future", future);
  phase.firstElementChild.textContent = future ? "Future" : "Observed";
  phase.lastElementChild.textContent = future ? `+ ${seconds(t - reading.boundary)}` : seconds(t - reading.start);
  const scrub = $("scrub");
  scrub.value = t;
  scrub.setAttribute("aria-valuetext", `${phase.firstElementChild.textContent} ${phase.lastElementChild.textContent}`);
  $("clock").textContent = `${(t - reading.start).toFixed(2)} / ${seconds(reading.end - reading.start)}`;
  const done = (t - reading.start) / Math.max(reading.end - reading.start, 1e-9);
  $("timeline").style.setProperty("--done", `${100 * done}%`);
  showVideo();
  if (!reading.actions) return;
  const row = reading.actions.at(t);
  bars.forEach(({ label, fill, share }) => {
    fill.style.transform = `scaleX(${row[label]})`;
    share.textContent = percent(row[label]);
  });
}

/** The address of a reading's video, made once; null if it has none. */
function videoAddress(index) {
  const { video } = page.readings[index];
  if (!video) return null;
  if (!videos.has(index)) {
    const bytes = Uint8Array.from(atob(video), (letter) => letter.charCodeAt(0));
    videos.set(index, URL.createObjectURL(new Blob([bytes], { type: "video/mp4" })));
  }
  return videos.get(index);
}

function openVideo(index) {
  const address = videoAddress(index);
  const video = $("video");
  video.hidden = address === null;
  video.pause();
  if (address !== null && video.src !== address) video.src = address;
}

/** The video runs by itself while the page plays, and is set right when it drifts; it ends where the observation does. */
function showVideo() {
  const video = $("video");
  if (video.hidden) return;
  const { reading, t } = state;
  const wanted = Math.min(t, reading.boundary) - reading.start;
  const running = state.playing && t < reading.boundary;
  video.playbackRate = state.speed;
  if (running && video.paused) video.play().catch(() => {});
  if (!running && !video.paused) video.pause();
  if (Math.abs(video.currentTime - wanted) > (running ? 0.25 : 0.005)) video.currentTime = wanted;
}

function showActions(reading) {
  const { actions } = reading;
  $("action-panel").hidden = !actions && !reading.true_label && !reading.label;
  $("chart-block").hidden = !actions;
  const predicted = actions?.predicted ?? reading.label;
  $("predicted").textContent = predicted ?? "not recognised";
  const truth = $("truth");
  truth.hidden = !reading.true_label;
  if (reading.true_label) {
    const right = reading.true_label === predicted;
    truth.className = predicted ? (right ? "chip right" : "chip wrong") : "chip";
    truth.textContent = `${predicted ? (right ? "\u2713 " : "\u2717 ") : ""}true: ${reading.true_label}`;
  }
  const list = $("bars");
  list.replaceChildren();
  bars = (actions?.named ?? []).map((label, rank) => {
    const item = element("li");
    const name = element("span", "bar-name", actions.labels[label]);
    const track = element("span", "bar-track");
    const fill = element("span", "bar-fill");
    const share = element("span", "bar-share");
    fill.style.background = seriesColour(rank);
    track.append(fill);
    item.append(name, track, share);
    list.append(item);
    return { label, fill, share };
  });
}

function duration(name, value) {
  if (typeof value !== "number") return String(value);
  const milliseconds = /_ms$/.test(name) ? value : 1000 * value;
  return milliseconds >= 1000 ? seconds(milliseconds / 1000) : `${milliseconds.toPrecision(milliseconds < 100 ? 2 : 3)} ms`;
}

function showDetails(reading) {
  const list = $("details");
  list.replaceChildren();
  const spaces = { metric: "metric 3D", image: "image, relative depth (2.5D)", planar: "planar, no depth" };
  const futures = reading.futures.length;
  const ahead = reading.end - reading.boundary;
  const rows = [
    ["Model", reading.model],
    ["Recording", reading.name],
    ["Person", reading.subject],
    ["Space", spaces[reading.space] + (reading.unit ? `, ${reading.unit}` : "")],
    ["Observed", `${reading.raw.frames} frames, ${seconds(reading.boundary - reading.start)}`],
    ["Rate", reading.rate ? `${reading.rate.toFixed(1)} frames/s` : null],
    ["Futures", futures ? `${futures}, ${seconds(ahead)} ahead` : null],
    ...Object.entries(reading.timing).map(([name, value]) => {
      const title = name.replace(/_(ms|seconds|s)$/, "").replaceAll("_", " ");
      return [title.charAt(0).toUpperCase() + title.slice(1), duration(name, value)];
    }),
  ];
  for (const [term, value] of rows) {
    if (value === null || value === undefined) continue;
    list.append(element("dt", "", term), element("dd", "", value));
  }
  const notes = $("notes");
  notes.replaceChildren(...reading.notes.map((note) => element("li", "", note)));
  $("notes-panel").hidden = reading.notes.length === 0;
  $("attribution").textContent = reading.attribution ?? "";
}

function showTimeline(reading) {
  const whole = Math.max(reading.end - reading.start, 1e-9);
  const share = (t) => `${(100 * (t - reading.start)) / whole}%`;
  const timeline = $("timeline");
  timeline.style.setProperty("--boundary", share(reading.boundary));
  timeline.classList.toggle("no-future", reading.end <= reading.boundary + 1e-6);
  const scrub = $("scrub");
  scrub.min = reading.start;
  scrub.max = reading.end;
  scrub.step = "any";
  ["left", "right"].forEach((name, side) => {
    const row = $(`seen-${name}`);
    row.replaceChildren();
    const { raw } = reading;
    let from = -1;
    for (let frame = 0; frame <= raw.frames; frame++) {
      const seen = frame < raw.frames && raw.knows(frame, side);
      if (seen && from < 0) from = frame;
      if (seen || from < 0) continue;
      const piece = element("i");
      const end = Math.min(raw.time[Math.min(frame, raw.frames - 1)], reading.boundary);
      piece.style.left = share(raw.time[from]);
      piece.style.width = `${(100 * Math.max(end - raw.time[from], whole / 200)) / whole}%`;
      row.append(piece);
      from = -1;
    }
  });
}

function showLayers(reading) {
  const there = {
    raw: true,
    refined: Boolean(reading.refined),
    futures: reading.futures.length > 1,
    most_likely: reading.futures.length > 0,
    truth: Boolean(reading.truth),
    body: Boolean(reading.body),
  };
  for (const layer of LAYERS) {
    const box = $(`layer-${layer}`);
    box.disabled = !there[layer];
    box.closest("label").classList.toggle("absent", !there[layer]);
    box.closest("label").title = there[layer] ? "" : "This recording has none";
  }
  $("futures-count").textContent = reading.futures.length > 1 ? `${reading.futures.length} futures` : "Futures";
}

function select(index) {
  const reading = readings[index]();
  const moments = new Set(reading.raw.time);
  for (const track of [reading.futures[0], reading.truth]) {
    for (const t of track?.time ?? []) if (t > reading.boundary + 1e-6) moments.add(t);
  }
  Object.assign(state, { index, reading, moments: [...moments].sort((a, b) => a - b), rest: 0 });
  [...$("tabs").children].forEach((tab, i) => {
    tab.setAttribute("aria-selected", i === index);
    tab.tabIndex = i === index ? 0 : -1;
  });
  showActions(reading);
  showDetails(reading);
  showTimeline(reading);
  showLayers(reading);
  stage?.open(reading);
  chart.open(reading);
  openVideo(index);
  seek(reading.start);
}

function makeTabs() {
  const tabs = $("tabs");
  page.readings.forEach((packed, index) => {
    const tab = element("button", "tab");
    tab.type = "button";
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", "stage");
    tab.append(element("span", "tab-name", packed.name));
    if (packed.subject) tab.append(element("span", "tab-subject", packed.subject));
    tab.addEventListener("click", () => select(index));
    tabs.append(tab);
  });
  tabs.hidden = page.readings.length < 2;
  tabs.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.stopPropagation();
    event.preventDefault();
    const index = (state.index + by + page.readings.length) % page.readings.length;
    select(index);
    tabs.children[index].focus();
  });
}

function setLayer(name, on) {
  $(`layer-${name}`).checked = on;
  stage?.setLayer(name, on);
  seek(state.t);
}

function connect() {
  $("play").addEventListener("click", () => (state.playing ? pause() : play()));
  $("back").addEventListener("click", () => stepFrame(-1));
  $("forward").addEventListener("click", () => stepFrame(1));
  $("scrub").addEventListener("input", (event) => {
    pause();
    seek(Number(event.target.value));
  });
  $("scrub").addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    stepFrame(by);
  });
  $("speed").addEventListener("change", (event) => (state.speed = Number(event.target.value)));
  for (const layer of LAYERS) $(`layer-${layer}`).addEventListener("change", (event) => setLayer(layer, event.target.checked));
  for (const view of ["start", "front", "side", "top"]) $(`view-${view}`).addEventListener("click", () => stage?.view(view));
  $("turn").addEventListener("click", () => {
    if (!stage) return;
    stage.controls.autoRotate = !stage.controls.autoRotate;
    $("turn").setAttribute("aria-pressed", stage.controls.autoRotate);
  });
  window.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    const pressing = event.target.tagName === "BUTTON" && (event.key === " " || event.key === "Enter");
    if (event.ctrlKey || event.metaKey || event.altKey || pressing || (typing && event.target.type !== "range" && event.target.type !== "checkbox")) return;
    if (typing && event.target.type === "checkbox" && event.key === " ") return;
    const action = {
      " ": () => (state.playing ? pause() : play()),
      ArrowRight: () => stepFrame(event.shiftKey ? 5 : 1),
      ArrowLeft: () => stepFrame(event.shiftKey ? -5 : -1),
      Home: () => seek(state.reading.start),
      End: () => seek(state.reading.end),
      "0": () => stage?.view("start"),
      b: () => seek(state.reading.boundary),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function openStage() {
  try {
    const tag = $("tag");
    const opened = new Stage($("canvas"), (place) => {
      tag.hidden = !place;
      if (place) tag.style.transform = `translate(${place.x.toFixed(1)}px, ${(place.y - 22).toFixed(1)}px) translate(-50%, -100%)`;
    });
    opened.canvas.addEventListener("pointerdown", () => (opened.touched = true));
    opened.canvas.addEventListener("wheel", () => (opened.touched = true), { passive: true });
    return opened;
  } catch (error) {
    $("no-webgl").hidden = false; // the timeline and the chart still work
    window.palmist.error = String(error);
    return null;
  }
}

window.palmist = {
  ready: false,
  error: null,
  play,
  pause,
  seek,
  select,
  setLayer,
  rotate: (sideways, upward) => stage?.rotate(sideways, upward),
  zoom: (factor) => stage?.zoom(factor),
  view: (name) => stage?.view(name),
  get frame() {
    return frameAt(state.t);
  },
  get frames() {
    return state.moments.length;
  },
  get time() {
    return state.t;
  },
  get boundary() {
    return state.reading.boundary;
  },
  get end() {
    return state.reading.end;
  },
  get playing() {
    return state.playing;
  },
  get reading() {
    return state.index;
  },
  get readings() {
    return page.readings.length;
  },
  get layers() {
    return { ...stage?.visible };
  },
  get counts() {
    return { ...stage?.counts };
  },
};

$("title").textContent = page.title;
makeTabs();
chart = new Chart($("chart"), (t) => {
  pause();
  seek(t);
});
stage = openStage();
connect();
select(0);
stage?.draw();
window.palmist.ready = true;
if (!calm) play();
requestAnimationFrame(tick);
