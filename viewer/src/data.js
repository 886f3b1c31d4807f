// Unpacks the page's data: 16-bit joints to tracks in scene coordinates (x right, y up, z towards the viewer).

export const HANDS = 2;
export const JOINTS = 21;
const UNKNOWN = -32768;
// Two known frames further apart than this are not joined by movement: nobody saw what lay between them.
const LONGEST_GAP = 0.25;

function unpack({ shape, scale, offset, data }) {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const values = new Float32Array(bytes.length / 2);
  for (let i = 0; i < values.length; i++) {
    const code = view.getInt16(2 * i, true);
    values[i] = code === UNKNOWN ? NaN : code * scale[i % 3] + offset[i % 3];
  }
  return { shape, values };
}

const median = (numbers) => {
  if (!numbers.length) return NaN;
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
};

/** Points over time: `width` points per frame. Samples between frames by straight lines, never across a gap. */
export class Track {
  constructor(time, values, width) {
    this.time = time;
    this.values = values;
    this.width = width;
    this.frames = time.length;
  }

  get start() {
    return this.time[0];
  }

  get end() {
    return this.time[this.frames - 1];
  }

  /** The last frame at or before t. */
  frameAt(t) {
    let low = 0;
    let high = this.frames - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.time[middle] <= t + 1e-6) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Fill `out` with `count` points from `first` on at time t; NaN where unknown. Returns whether any is known. */
  sample(t, first, count, out) {
    const half = this.frames > 1 ? (this.end - this.start) / (this.frames - 1) / 2 : 0.5;
    if (t < this.start - half || t > this.end + half) return out.fill(NaN) && false;
    const frame = this.frameAt(t);
    const next = Math.min(frame + 1, this.frames - 1);
    const gap = this.time[next] - this.time[frame];
    const share = gap > 0 && gap <= LONGEST_GAP ? Math.min(1, Math.max(0, (t - this.time[frame]) / gap)) : 0;
    let seen = false;
    for (let i = 0; i < 3 * count; i++) {
      const here = this.values[3 * (frame * this.width + first) + i];
      const there = this.values[3 * (next * this.width + first) + i];
      out[i] = share > 0 && there === there ? here + (there - here) * share : here;
      seen = seen || out[i] === out[i];
    }
    return seen;
  }

  hand(t, side, out) {
    return this.sample(t, side * JOINTS, JOINTS, out);
  }

  /** Whether the hand is known in that frame. */
  knows(frame, side) {
    const from = 3 * (frame * this.width + side * JOINTS);
    for (let i = from; i < from + 3 * JOINTS; i += 3) if (this.values[i] === this.values[i]) return true;
    return false;
  }

  /** A copy that starts with the given frame of another track, so that a future begins where the past ended. */
  after(track, frame) {
    const width = 3 * this.width;
    const values = new Float32Array(this.values.length + width);
    values.set(track.values.subarray(frame * width, (frame + 1) * width));
    values.set(this.values, width);
    // A hand that the future does not show must not flash up at its start.
    for (let side = 0; side < HANDS; side++) {
      if (!this.knows(0, side)) values.fill(NaN, 3 * side * JOINTS, 3 * (side + 1) * JOINTS);
    }
    return new Track([track.time[frame], ...this.time], values, this.width);
  }
}

function distance(values, at, a, b) {
  const i = 3 * (at + a);
  const j = 3 * (at + b);
  return Math.hypot(values[i] - values[j], values[i + 1] - values[j + 1], values[i + 2] - values[j + 2]);
}

/** Palm length of one side over the whole track: of several measures, so that a hand seen end-on still has a size. */
function handSize(values, frames, side) {
  const sizes = [];
  for (let frame = 0; frame < frames; frame++) {
    const at = (frame * HANDS + side) * JOINTS;
    const finger = distance(values, at, 9, 10) + distance(values, at, 10, 11) + distance(values, at, 11, 12);
    const size = Math.max(distance(values, at, 0, 9), 1.15 * distance(values, at, 5, 17), 1.05 * finger);
    if (size > 0) sizes.push(size);
  }
  return median(sizes);
}

/** One recording, in scene units: the larger hand's palm is 1 long, and the middle of all that is seen lies at 0. */
export function openReading(packed) {
  const observed = unpack(packed.observed.joints);
  const stretch = [packed.aspect, packed.y_axis === "down" ? -1 : 1, packed.aspect * (packed.z_axis === "away" ? -1 : 1)];
  const turn = (values) => {
    for (let i = 0; i < values.length; i++) values[i] *= stretch[i % 3];
    return values;
  };
  turn(observed.values);
  const frames = packed.observed.time.length;
  const sizes = [0, 1].map((side) => handSize(observed.values, frames, side));
  const unit = Math.max(...sizes.filter((size) => size > 0), 1e-9);

  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  observed.values.forEach((value, i) => {
    if (value < low[i % 3]) low[i % 3] = value;
    if (value > high[i % 3]) high[i % 3] = value;
  });
  const middle = low.map((value, axis) => (Number.isFinite(value) ? (value + high[axis]) / 2 : 0));
  const place = (values) => {
    for (let i = 0; i < values.length; i++) values[i] = (values[i] - middle[i % 3]) / unit;
    return values;
  };
  place(observed.values);
  const track = (part) => part && new Track(part.time, place(turn(unpack(part.joints).values)), HANDS * JOINTS);

  const raw = new Track(packed.observed.time, observed.values, HANDS * JOINTS);
  const refined = track(packed.refined);
  const solid = refined ?? raw;
  const reading = {
    ...packed,
    raw,
    refined,
    solid,
    boundary: raw.end,
    start: raw.start,
    end: raw.end,
    handSizes: sizes.map((size) => (size > 0 ? size / unit : 1)),
    futures: [],
    mostLikely: -1,
    truth: null,
    body: null,
    unitInData: unit,
  };
  if (packed.futures) {
    const { shape, values } = unpack(packed.futures.joints);
    place(turn(values));
    const step = values.length / shape[0];
    for (let k = 0; k < shape[0]; k++) {
      const future = new Track(packed.futures.time, values.subarray(k * step, (k + 1) * step), HANDS * JOINTS);
      reading.futures.push(future.after(solid, solid.frames - 1));
    }
    reading.mostLikely = packed.futures.most_likely;
    reading.end = Math.max(reading.end, reading.futures[0].end);
  }
  const truth = track(packed.truth_future);
  if (truth) {
    reading.truth = truth.after(raw, raw.frames - 1);
    reading.end = Math.max(reading.end, truth.end);
  }
  if (packed.body) {
    const { shape, values } = unpack(packed.body.joints);
    place(turn(values));
    // In image space the body's depth counts from the hips and the hand's from its own wrist: they do not meet. Draw it flat.
    if (packed.space === "image") for (let i = 2; i < values.length; i += 3) values[i] = -middle[2] / unit;
    reading.body = { track: new Track(packed.body.time, values, shape[1]), bones: packed.body.bones, points: shape[1] };
  }
  if (packed.actions) reading.actions = openActions(packed);
  return reading;
}

function openActions({ actions, label, true_label: truth }) {
  const { labels, time, probabilities } = actions;
  const last = probabilities[probabilities.length - 1];
  const best = (row) => row.reduce((winner, value, i) => (value > row[winner] ? i : winner), 0);
  const peak = labels.map((_, i) => Math.max(...probabilities.map((row) => row[i])));
  // The lines worth a name: likeliest at the end first, then those that led on the way there.
  const order = labels.map((_, i) => i).sort((a, b) => last[b] + 0.25 * peak[b] - (last[a] + 0.25 * peak[a]));
  const at = (t) => {
    let row = 0;
    while (row + 1 < time.length && time[row + 1] <= t + 1e-6) row++;
    return probabilities[row];
  };
  const predicted = label ?? labels[best(last)];
  return { labels, time, probabilities, named: order.slice(0, 5), at, best, predicted, truth, right: truth && truth === predicted };
}

/** The box around everything that the default layers show: low and high corner. */
export function bounds(reading) {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  const tracks = [reading.raw, reading.refined, reading.truth, reading.futures[reading.mostLikely]];
  for (const track of tracks) {
    track?.values.forEach((value, i) => {
      if (value < low[i % 3]) low[i % 3] = value;
      if (value > high[i % 3]) high[i % 3] = value;
    });
  }
  for (let axis = 0; axis < 3; axis++) {
    // Of the futures all but the wildest count, or one stray would shrink the hands.
    const reach = reading.futures.flatMap((future) => [...future.values.filter((value, i) => i % 9 === axis && value === value)]);
    reach.sort((a, b) => a - b);
    if (!reach.length) continue;
    low[axis] = Math.min(low[axis], reach[Math.floor(0.04 * reach.length)]);
    high[axis] = Math.max(high[axis], reach[Math.floor(0.96 * (reach.length - 1))]);
  }
  return low[0] <= high[0] ? { low, high } : { low: [-1, -1, -1], high: [1, 1, 1] };
}
