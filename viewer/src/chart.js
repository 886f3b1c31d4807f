// Action probabilities over time, as SVG: the five likeliest by name, the others as quiet lines.

const SERIES = ["#ffc857", "#6fd3c1", "#8fa8ff", "#f49ac1", "#a3d977"];
const QUIET = "#3a465c";
const NAMESPACE = "http://www.w3.org/2000/svg";

const draw = (name, attributes, text) => {
  const node = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
};

export const seriesColour = (rank) => SERIES[rank] ?? QUIET;
export const percent = (share) => (share >= 0.995 ? "100 %" : share < 0.01 && share > 0 ? "< 1 %" : `${Math.round(100 * share)} %`);

/** Labels along the right edge, pushed apart so that they do not overlap. */
function spread(places, gap, low, high) {
  const order = places.map((y, i) => ({ y, i })).sort((a, b) => a.y - b.y);
  for (let n = 0; n < order.length; n++) order[n].y = Math.max(order[n].y, n ? order[n - 1].y + gap : low);
  for (let n = order.length - 1; n >= 0; n--) order[n].y = Math.min(order[n].y, n + 1 < order.length ? order[n + 1].y - gap : high);
  const result = [];
  for (const { y, i } of order) result[i] = y;
  return result;
}

export class Chart {
  constructor(holder, onSeek) {
    this.holder = holder;
    this.onSeek = onSeek;
    this.svg = draw("svg", { class: "chart", role: "img" });
    holder.replaceChildren(this.svg);
    this.svg.addEventListener("pointerdown", (event) => {
      this.seekTo(event);
      this.svg.setPointerCapture(event.pointerId);
    });
    this.svg.addEventListener("pointermove", (event) => event.buttons && this.seekTo(event));
    new ResizeObserver(() => this.layout()).observe(holder);
  }

  seekTo(event) {
    if (!this.reading?.actions) return;
    const x = event.clientX - this.svg.getBoundingClientRect().left;
    this.onSeek(this.timeAt(Math.min(this.right, Math.max(this.left, x))));
  }

  timeAt(x) {
    const { start, boundary } = this.reading;
    return start + ((x - this.left) / (this.right - this.left)) * (boundary - start);
  }

  open(reading) {
    this.reading = reading;
    this.layout();
  }

  layout() {
    const actions = this.reading?.actions;
    this.svg.replaceChildren();
    if (!actions) return;
    const width = Math.max(220, this.holder.clientWidth);
    const height = 176;
    Object.assign(this, { left: 30, right: width - 92, top: 10, bottom: height - 22 });
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    const { labels, time, probabilities, named } = actions;
    const { start, boundary } = this.reading;
    const x = (t) => this.left + ((t - start) / Math.max(boundary - start, 1e-9)) * (this.right - this.left);
    const y = (share) => this.bottom - share * (this.bottom - this.top);
    const lead = named.map((i) => `${labels[i]} ${percent(probabilities[probabilities.length - 1][i])}`).join(", ");
    this.svg.setAttribute("aria-label", `Action probabilities over time. At the end: ${lead}.`);
    for (const share of [0, 0.5, 1]) {
      this.svg.append(draw("line", { x1: this.left, x2: this.right, y1: y(share), y2: y(share), class: "rule" }));
      this.svg.append(draw("text", { x: this.left - 6, y: y(share) + 4, "text-anchor": "end", class: "tick" }, share));
    }
    this.svg.append(draw("text", { x: this.left, y: height - 5, class: "tick" }, "0 s"));
    const span = `${(boundary - start).toFixed(2)} s observed`;
    this.svg.append(draw("text", { x: this.right, y: height - 5, "text-anchor": "end", class: "tick" }, span));
    const series = [...labels.keys()].filter((i) => !named.includes(i)).concat([...named].reverse());
    for (const i of series) this.line(i, named.indexOf(i), time.map(x), probabilities.map((row) => y(row[i])));
    const ends = named.map((i) => y(probabilities[probabilities.length - 1][i]));
    spread(ends, 15, this.top + 2, this.bottom).forEach((place, rank) => {
      const end = Math.min(this.right, x(time[time.length - 1]));
      this.svg.append(draw("line", { x1: end, y1: ends[rank], x2: this.right + 6, y2: place, class: "leader", stroke: seriesColour(rank) }));
      const text = labels[named[rank]];
      const short = text.length > 12 ? text.slice(0, 11) + "\u2026" : text;
      const label = draw("text", { x: this.right + 10, y: place + 4, class: rank ? "name" : "name first", fill: seriesColour(rank) }, short);
      label.append(draw("title", {}, text));
      this.svg.append(label);
    });
    this.cursor = draw("line", { y1: this.top - 4, y2: this.bottom, class: "cursor" });
    this.svg.append(this.cursor);
    this.x = x;
    this.move(this.now ?? start);
  }

  line(i, rank, xs, ys) {
    const named = rank >= 0;
    const look = { fill: "none", stroke: named ? seriesColour(rank) : QUIET, "stroke-width": named ? (rank ? 1.8 : 2.6) : 1, class: "series" };
    if (xs.length > 1) this.svg.append(draw("polyline", { points: xs.map((at, n) => `${at.toFixed(1)},${ys[n].toFixed(1)}`).join(" "), ...look }));
    else this.svg.append(draw("circle", { cx: xs[0], cy: ys[0], r: named ? 4 : 2, fill: look.stroke, class: "series" }));
  }

  move(t) {
    this.now = t;
    if (!this.cursor || !this.reading.actions) return;
    const at = this.x(Math.min(t, this.reading.boundary)).toFixed(1);
    this.cursor.setAttribute("x1", at);
    this.cursor.setAttribute("x2", at);
  }
}
