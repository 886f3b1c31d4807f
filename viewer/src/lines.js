// Everything drawn as lines: skeletons, bodies and the trails of joints.
import * as THREE from "three";
import { LineMaterial } from "three/addons/lines/LineMaterial.js";
import { LineSegments2 } from "three/addons/lines/LineSegments2.js";
import { LineSegmentsGeometry } from "three/addons/lines/LineSegmentsGeometry.js";

export const BONES = [];
for (let base = 1; base < 21; base += 4) {
  BONES.push([0, base]);
  for (let joint = base; joint < base + 3; joint++) BONES.push([joint, joint + 1]);
}
export const PALM_BONES = [...BONES, [5, 9], [9, 13], [13, 17]];
const DASHES = 3;

/** Overlaps take the lighter colour: a bundle of many futures neither burns out nor shows where its pieces meet. */
function lighten(material) {
  material.blending = THREE.CustomBlending;
  material.blendEquation = THREE.MaxEquation;
  material.toneMapped = false;
}

/** A pool of line segments that is refilled every frame. */
export class Segments {
  constructor(capacity, { width = 1.5, opacity = 1, order = 5, blend = "over", worldUnits = false, depthTest = true } = {}) {
    this.capacity = capacity;
    this.geometry = new LineSegmentsGeometry();
    this.geometry.setPositions(new Float32Array(6 * capacity));
    this.geometry.setColors(new Float32Array(6 * capacity).fill(1));
    this.material = new LineMaterial({ linewidth: width, worldUnits, transparent: true, opacity, vertexColors: true, depthWrite: false, depthTest });
    if (blend === "lighten") lighten(this.material);
    this.object = new LineSegments2(this.geometry, this.material);
    this.object.frustumCulled = false;
    this.object.renderOrder = order;
    this.points = this.geometry.attributes.instanceStart.data;
    this.colours = this.geometry.attributes.instanceColorStart.data;
    this.points.setUsage(THREE.DynamicDrawUsage);
    this.clear();
  }

  clear() {
    this.used = 0;
    return this;
  }

  add(ax, ay, az, bx, by, bz, colour, fade = 1) {
    if (this.used >= this.capacity || !(ax + ay + az + bx + by + bz === ax + ay + az + bx + by + bz)) return;
    this.points.array.set([ax, ay, az, bx, by, bz], 6 * this.used);
    const { r, g, b } = colour;
    this.colours.array.set([r * fade, g * fade, b * fade, r * fade, g * fade, b * fade], 6 * this.used);
    this.used += 1;
  }

  /** A line from point a to point b of a flat array; dashed if asked. */
  join(values, a, b, colour, { dashed = false, fade = 1 } = {}) {
    const [i, j] = [3 * a, 3 * b];
    const at = (axis, share) => values[i + axis] + share * (values[j + axis] - values[i + axis]);
    const pieces = dashed ? DASHES : 1;
    for (let piece = 0; piece < pieces; piece++) {
      const from = piece / pieces;
      const to = dashed ? (piece + 0.58) / pieces : 1;
      this.add(at(0, from), at(1, from), at(2, from), at(0, to), at(1, to), at(2, to), colour, fade);
    }
  }

  /** The skeleton of one hand (63 numbers). */
  hand(joints, colour, options) {
    const known = (joint) => joints[3 * joint] === joints[3 * joint];
    for (const [a, b] of PALM_BONES) {
      // A source without the thumb's base: join the wrist to the next joint.
      if (a === 0 && b === 1 && !known(1)) this.join(joints, 0, 2, colour, options);
      else this.join(joints, a, b, colour, options);
    }
  }

  flush() {
    this.geometry.instanceCount = this.used;
    this.object.visible = this.used > 0;
    this.points.needsUpdate = true;
    this.colours.needsUpdate = true;
  }

  dispose() {
    this.geometry.dispose();
    this.material.dispose();
  }
}

/** Round dots of one size on screen. */
export class Dots {
  constructor(capacity, { size = 6, opacity = 1, order = 6, blend = "over" } = {}) {
    this.positions = new THREE.BufferAttribute(new Float32Array(3 * capacity), 3).setUsage(THREE.DynamicDrawUsage);
    this.colours = new THREE.BufferAttribute(new Float32Array(3 * capacity), 3).setUsage(THREE.DynamicDrawUsage);
    this.geometry = new THREE.BufferGeometry();
    this.geometry.setAttribute("position", this.positions);
    this.geometry.setAttribute("color", this.colours);
    this.material = new THREE.PointsMaterial({ size, sizeAttenuation: false, vertexColors: true, transparent: true, opacity, depthWrite: false, map: Dots.disc(), alphaTest: 0.02 });
    if (blend === "lighten") lighten(this.material);
    this.object = new THREE.Points(this.geometry, this.material);
    this.object.frustumCulled = false;
    this.object.renderOrder = order;
    this.capacity = capacity;
    this.used = 0;
  }

  static disc() {
    if (!Dots.texture) {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = 64;
      const brush = canvas.getContext("2d");
      const shade = brush.createRadialGradient(32, 32, 0, 32, 32, 32);
      shade.addColorStop(0, "rgba(255,255,255,1)");
      shade.addColorStop(0.75, "rgba(255,255,255,1)");
      shade.addColorStop(1, "rgba(255,255,255,0)");
      brush.fillStyle = shade;
      brush.fillRect(0, 0, 64, 64);
      Dots.texture = new THREE.CanvasTexture(canvas);
    }
    return Dots.texture;
  }

  clear() {
    this.used = 0;
    return this;
  }

  add(values, point, colour) {
    const i = 3 * point;
    if (this.used >= this.capacity || !(values[i] === values[i])) return;
    this.positions.array.set([values[i], values[i + 1], values[i + 2]], 3 * this.used);
    this.colours.array.set([colour.r, colour.g, colour.b], 3 * this.used);
    this.used += 1;
  }

  flush() {
    this.geometry.setDrawRange(0, this.used);
    this.object.visible = this.used > 0;
    this.positions.needsUpdate = this.colours.needsUpdate = true;
  }

  dispose() {
    this.geometry.dispose();
    this.material.dispose();
  }
}
