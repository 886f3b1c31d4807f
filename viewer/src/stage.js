// The 3D view: builds the layers of one reading and draws them at a moment.
import * as THREE from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { bounds, HANDS, JOINTS } from "./data.js";
import { SolidHand } from "./hands.js";
import { BONES, Dots, PALM_BONES, Segments } from "./lines.js";
import { BACKGROUND, BODY, GHOST, GOLD, LIKELY, SOLID, TINT, TRUTH } from "./palette.js";

export const LAYERS = ["raw", "refined", "futures", "most_likely", "truth", "body"];
const TRAILED = [0, 4, 8]; // wrist, thumb tip, index fingertip
const PAST_TRAIL = 0.6; // seconds
const HANDOVER = 0.14; // seconds in which the refined hand gives way to the most likely future
const colour = (text) => new THREE.Color(text);
const TINTS = TINT.map(colour);
const COLOURS = { ghost: colour(GHOST), gold: colour(GOLD), truth: colour(TRUTH), body: colour(BODY) };

const FLOOR_FRAGMENT = `
varying vec2 place;
uniform float reach;
void main() {
  vec2 cell = abs(fract(place - 0.5) - 0.5) / fwidth(place);
  float line = 1.0 - min(min(cell.x, cell.y), 1.0);
  float fade = smoothstep(1.0, 0.1, length(place) / reach);
  gl_FragColor = vec4(vec3(0.42, 0.52, 0.72), (line * 0.2 + 0.03) * fade * fade);
}`;

/** The highest known joint. */
function topOf(joints) {
  let top = -1;
  for (let joint = 0; joint < JOINTS; joint++) if (!(joints[3 * joint + 1] <= joints[3 * top + 1])) if (joints[3 * joint] === joints[3 * joint]) top = joint;
  return top < 0 ? null : new THREE.Vector3().fromArray(joints, 3 * top);
}

function softDisc() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 128;
  const brush = canvas.getContext("2d");
  const shade = brush.createRadialGradient(64, 64, 0, 64, 64, 64);
  for (let stop = 0; stop <= 8; stop++) shade.addColorStop(stop / 8, `rgba(255,255,255,${0.5 * (1 - stop / 8) ** 2})`);
  brush.fillStyle = shade;
  brush.fillRect(0, 0, 128, 128);
  return new THREE.CanvasTexture(canvas);
}

export class Stage {
  constructor(canvas, onDraw) {
    this.canvas = canvas;
    this.onDraw = onDraw;
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true, powerPreference: "high-performance" });
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio || 1, 2));
    this.renderer.setClearColor(BACKGROUND);
    this.renderer.toneMapping = THREE.ACESFilmicToneMapping;
    this.renderer.toneMappingExposure = 1.05;
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(30, 1, 0.05, 400);
    this.light();
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.enableDamping = !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.controls.dampingFactor = 0.09;
    this.controls.autoRotateSpeed = 1.6;
    this.controls.addEventListener("change", () => (this.stale = true));
    this.visible = Object.fromEntries(LAYERS.map((layer) => [layer, true]));
    this.counts = Object.fromEntries(LAYERS.map((layer) => [layer, 0]));
    this.joints = new Float32Array(3 * JOINTS);
    this.layers = null;
    this.stale = true;
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    this.resize();
  }

  light() {
    this.scene.add(new THREE.HemisphereLight("#cfdcff", "#2a1c26", 0.9));
    const key = new THREE.DirectionalLight("#fff2e2", 2.0);
    key.position.set(3, 5, 6);
    const back = new THREE.DirectionalLight("#7fa0ff", 1.5);
    back.position.set(-5, 2, -4);
    this.camera.add(key, back); // the lamps move with the viewer: no side of the hand lies in the dark
    this.scene.add(this.camera);
    const geometry = new THREE.PlaneGeometry(1, 1).rotateX(-Math.PI / 2);
    this.floor = new THREE.Mesh(
      geometry,
      new THREE.ShaderMaterial({
        uniforms: { reach: { value: 10 } },
        vertexShader:
          "varying vec2 place; void main() { vec4 p = modelMatrix * vec4(position, 1.0); place = p.xz; gl_Position = projectionMatrix * viewMatrix * p; }",
        fragmentShader: FLOOR_FRAGMENT,
        transparent: true,
        depthWrite: false,
        side: THREE.DoubleSide,
      }),
    );
    this.scene.add(this.floor);
    // A pool of light below each hand tells how high and how near it is.
    this.pools = [0, 1].map(() => {
      const material = new THREE.MeshBasicMaterial({ map: softDisc(), transparent: true, depthWrite: false, blending: THREE.AdditiveBlending });
      const pool = new THREE.Mesh(new THREE.PlaneGeometry(1, 1).rotateX(-Math.PI / 2), material);
      pool.renderOrder = 1;
      this.scene.add(pool);
      return pool;
    });
  }

  /** Light the floor below a hand. */
  shine(side, joints, tint, strength) {
    const pool = this.pools[side];
    const known = [9, 5, 0].find((joint) => joints[3 * joint] === joints[3 * joint]);
    if (known === undefined || strength <= 0.01) return;
    const height = joints[3 * known + 1] - this.floor.position.y;
    pool.visible = true;
    pool.position.set(joints[3 * known], this.floor.position.y + 0.01, joints[3 * known + 2]);
    pool.scale.setScalar(1.8 + 0.5 * height);
    pool.material.color.copy(tint);
    pool.material.opacity = (0.55 * strength) / (1 + 0.35 * height);
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    if (!width || !height) return;
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    if (this.box && !this.touched) this.view("start");
    this.stale = true;
  }

  /** Replace what is shown by another reading. */
  open(reading) {
    for (const part of this.layers ?? []) {
      this.scene.remove(part.object);
      part.dispose();
    }
    this.reading = reading;
    const count = reading.futures.length;
    const frames = count ? reading.futures[0].frames : 0;
    const solid = (shades, rim, order) =>
      [0, 1].map((side) => new SolidHand(shades[side], { rim, order, size: reading.handSizes[side], root: reading.root }));
    this.refined = solid(SOLID, "#ffffff", 20);
    this.likely = solid(LIKELY, "#fff1c9", 30);
    this.rest = new Segments(HANDS * PALM_BONES.length, { width: 1.4, opacity: 0.4, order: 12 });
    this.ghost = new Segments(HANDS * PALM_BONES.length, { width: 1.6, opacity: 0.72, order: 42, depthTest: false });
    this.ghostDots = new Dots(HANDS * JOINTS, { size: 4, opacity: 0.75, order: 43 });
    this.ghostDots.material.depthTest = false;
    this.past = new Segments(HANDS * TRAILED.length * 200, { width: 2.2, order: 14, blend: "lighten" });
    this.fans = new Segments(count * HANDS * BONES.length + 1, { width: 1.2, order: 16, blend: "lighten" });
    this.trails = new Segments(count * HANDS * TRAILED.length * frames + 1, { width: 1.7, order: 17, blend: "lighten" });
    this.trailEnds = new Dots(count * HANDS * TRAILED.length + 1, { size: 5, opacity: 0.9, order: 18 });
    this.goldTrail = new Segments(HANDS * TRAILED.length * (frames + 1) + 1, { width: 3, order: 19, blend: "lighten" });
    const truthFrames = reading.truth?.frames ?? 0;
    this.truth = new Segments(HANDS * 3 * (PALM_BONES.length + TRAILED.length * truthFrames) + 1, { width: 2, opacity: 0.95, order: 60, depthTest: false });
    this.bodyLines = new Segments((reading.body?.bones.length ?? 0) + 1, { width: 0.17, order: 2, worldUnits: true });
    this.bodyLines.material.toneMapped = false;
    this.bodyDots = new Dots((reading.body?.points ?? 0) + 1, { size: 5, order: 3 });
    this.layers = [...this.refined, ...this.likely, this.rest, this.ghost, this.ghostDots, this.past, this.fans, this.trails];
    this.layers.push(this.trailEnds, this.goldTrail, this.truth, this.bodyLines, this.bodyDots);
    for (const part of this.layers) this.scene.add(part.object);

    this.box = bounds(reading);
    const { low, high } = this.box;
    const span = Math.hypot(...high.map((value, axis) => value - low[axis]));
    this.floor.position.set(0, low[1] - 0.45, 0);
    this.floor.scale.setScalar(6 * (span + 4));
    this.floor.material.uniforms.reach.value = 1.6 * span + 4;
    this.touched = false;
    this.view("start");
  }

  /** Put the camera where it sees everything: "start", "front", "side" or "top". */
  view(name) {
    const { low, high } = this.box;
    const flat = this.reading.space === "planar";
    const start = flat ? [0, 0.07, 1] : [0.34, 0.2, 1];
    const way = new THREE.Vector3(...{ start, front: [0, 0, 1], side: [1, 0.05, 0.001], top: [0, 1, 0.001] }[name]).normalize();
    const middle = low.map((value, axis) => (value + high[axis]) / 2);
    const up = new THREE.Vector3(0, 1, 0);
    const right = up.clone().cross(way).normalize();
    const above = way.clone().cross(right);
    // The eight corners of the box must fit in width and height, with room for the hands' own thickness.
    const slope = Math.tan(THREE.MathUtils.degToRad(this.camera.fov / 2));
    let away = 2;
    for (let corner = 0; corner < 8; corner++) {
      const point = new THREE.Vector3(...middle.map((value, axis) => ((corner >> axis) & 1 ? high : low)[axis] - value));
      const near = point.dot(way);
      away = Math.max(away, near + (Math.abs(point.dot(above)) + 0.35) / slope / 0.84);
      away = Math.max(away, near + (Math.abs(point.dot(right)) + 0.35) / (slope * this.camera.aspect) / 0.86);
    }
    this.controls.target.set(...middle);
    this.camera.position.set(...middle).addScaledVector(way, away);
    this.controls.maxDistance = 6 * away;
    this.controls.minDistance = 0.2 * away;
    this.controls.update();
    this.stale = true;
  }

  /** Orbit by so many radians. */
  rotate(sideways, upward = 0) {
    const offset = this.camera.position.clone().sub(this.controls.target);
    const ball = new THREE.Spherical().setFromVector3(offset);
    ball.theta -= sideways;
    ball.phi = Math.min(Math.PI - 0.01, Math.max(0.01, ball.phi - upward));
    this.camera.position.setFromSpherical(ball).add(this.controls.target);
    this.touched = true;
    this.controls.update();
    this.stale = true;
  }

  zoom(factor) {
    this.camera.position.sub(this.controls.target).multiplyScalar(factor).add(this.controls.target);
    this.controls.update();
    this.stale = true;
  }

  setLayer(name, on) {
    this.visible[name] = on;
    this.stale = true;
  }

  /** Fill every layer for time t. */
  update(t) {
    const { reading, counts, visible } = this;
    for (const layer of LAYERS) counts[layer] = 0;
    const ahead = t - reading.boundary;
    for (const pool of this.pools) pool.visible = false;
    this.anchor = null;
    const foretold = reading.futures.length > 0 || reading.truth !== null;
    this.showObserved(t, visible.raw);
    this.showSolid(t, foretold ? ahead : -1, reading.refined ? "refined" : "raw");
    this.showFutures(t, ahead, visible.futures, visible.most_likely);
    this.showTruth(t, ahead, visible.truth);
    this.showBody(t, visible.body);
    this.stale = true;
  }

  showObserved(t, on) {
    const { ghost, ghostDots, joints, reading, counts } = this;
    ghost.clear();
    ghostDots.clear();
    for (let side = 0; on && reading.refined && side < HANDS; side++) {
      if (t > reading.boundary + 1e-6 || !reading.raw.hand(t, side, joints)) continue;
      ghost.hand(joints, COLOURS.ghost);
      for (let joint = 0; joint < JOINTS; joint++) ghostDots.add(joints, joint, COLOURS.ghost);
      counts.raw += 1;
    }
    ghost.flush();
    ghostDots.flush();
  }

  /** The refined hands; where nothing was refined, the observed ones take their place. */
  showSolid(t, ahead, layer) {
    const { rest, past, joints, reading, counts, refined } = this;
    const strength = ahead <= 0 ? 1 : Math.max(0, 1 - ahead / HANDOVER);
    const moment = Math.min(t, reading.boundary);
    rest.clear();
    past.clear();
    for (let side = 0; side < HANDS; side++) {
      refined[side].hide();
      if (!this.visible[layer] || !reading.solid.hand(moment, side, joints)) continue;
      refined[side].show(joints, strength);
      this.shine(side, joints, TINTS[side], strength);
      counts[layer] += strength > 0.01 ? 1 : 0;
      if (ahead > 0) rest.hand(joints, TINTS[side]); // where the hand was when observation ended
      this.pastTrail(moment, side);
    }
    rest.flush();
    past.flush();
  }

  pastTrail(t, side) {
    const { solid } = this.reading;
    for (let frame = solid.frameAt(t); frame > 0 && solid.time[frame] > t - PAST_TRAIL; frame--) {
      if (!solid.knows(frame, side) || !solid.knows(frame - 1, side)) break;
      const fade = 1 - (t - solid.time[frame]) / PAST_TRAIL;
      this.step(this.past, solid, frame, side, TINTS[side], { fade: 0.6 * fade * fade });
    }
  }

  /** The way of the trailed joints from the frame before to this frame. */
  step(segments, track, frame, side, tint, options) {
    const here = (frame * HANDS + side) * JOINTS;
    for (const joint of TRAILED) segments.join(track.values, here - HANDS * JOINTS + joint, here + joint, tint, options);
  }

  showFutures(t, ahead, fansOn, likelyOn) {
    const { reading, counts, joints, fans, trails, trailEnds, goldTrail, likely } = this;
    for (const part of [fans, trails, trailEnds, goldTrail]) part.clear();
    for (const hand of likely) hand.hide();
    // The fan lies open from the moment the observation ends; the part already played is bright.
    reading.futures.forEach((future, k) => {
      const chosen = k === reading.mostLikely;
      if (ahead < -1e-6 || !(chosen ? likelyOn : fansOn)) return;
      for (let side = 0; side < HANDS; side++) {
        for (let frame = 1; frame < future.frames; frame++) {
          const passed = future.time[frame] <= t + 1e-6;
          if (chosen) this.step(goldTrail, future, frame, side, COLOURS.gold, { fade: passed ? 1 : 0.3 });
          else this.step(trails, future, frame, side, TINTS[side], { fade: passed ? 0.72 : 0.24 });
        }
        if (!future.hand(t, side, joints)) continue;
        if (chosen) {
          likely[side].show(joints, Math.min(1, ahead / HANDOVER));
          this.shine(side, joints, COLOURS.gold, Math.min(1, ahead / HANDOVER));
          if (ahead > HANDOVER) this.anchor = topOf(joints);
          counts.most_likely += ahead > 1e-6 ? 1 : 0;
        } else {
          fans.hand(joints, TINTS[side], { fade: 0.3 });
          for (const joint of TRAILED) trailEnds.add(joints, joint, TINTS[side]);
          counts.futures += side === 0 || !future.hand(t, 0, this.joints) ? 1 : 0;
        }
      }
    });
    for (const part of [fans, trails, trailEnds, goldTrail]) part.flush();
  }

  showTruth(t, ahead, on) {
    const { reading, counts, joints, truth } = this;
    truth.clear();
    if (on && reading.truth && ahead >= -1e-6) {
      for (let side = 0; side < HANDS; side++) {
        for (let frame = 1; frame < reading.truth.frames && reading.truth.time[frame] <= t + 1e-6; frame++) {
          const dense = reading.truth.frames > 24; // then whole steps serve as dashes
          if (!dense || frame % 2) this.step(truth, reading.truth, frame, side, COLOURS.truth, { dashed: !dense });
        }
        if (ahead <= 1e-6 || !reading.truth.hand(t, side, joints)) continue;
        truth.hand(joints, COLOURS.truth, { dashed: true });
        counts.truth += 1;
      }
    }
    truth.flush();
  }

  showBody(t, on) {
    const { reading, counts, bodyLines, bodyDots } = this;
    bodyLines.clear();
    bodyDots.clear();
    if (on && reading.body) {
      const { track, bones, points } = reading.body;
      this.bodyPoints ??= new Float32Array(0);
      if (this.bodyPoints.length !== 3 * points) this.bodyPoints = new Float32Array(3 * points);
      if (track.sample(Math.min(t, track.end), 0, points, this.bodyPoints)) {
        const boned = new Set(bones.flat());
        for (const [a, b] of bones) bodyLines.join(this.bodyPoints, a, b, COLOURS.body);
        for (let point = 0; point < points; point++) if (!boned.has(point)) bodyDots.add(this.bodyPoints, point, COLOURS.body);
        counts.body = 1;
      }
    }
    bodyLines.flush();
    bodyDots.flush();
  }

  /** Where the most likely hand's top is, in pixels of the canvas; null if it is not shown. */
  anchorOnScreen() {
    if (!this.anchor) return null;
    const place = this.anchor.clone().project(this.camera);
    const { clientWidth, clientHeight } = this.canvas;
    return { x: ((place.x + 1) / 2) * clientWidth, y: ((1 - place.y) / 2) * clientHeight };
  }

  draw() {
    this.controls.update();
    if (!this.stale) return;
    this.stale = false;
    this.renderer.render(this.scene, this.camera);
    this.onDraw?.(this.anchorOnScreen());
  }
}
