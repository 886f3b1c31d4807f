// A solid hand: round cones between joints, drawn in one instanced call, lit like wax.
import * as THREE from "three";

// Radii in palm lengths, by joint: wrist, then thumb, index, middle, ring, little from base to tip.
// prettier-ignore
const RADIUS = [
  0.16, 0.145, 0.115, 0.1, 0.074,
  0.115, 0.092, 0.08, 0.063, 0.118, 0.094, 0.082, 0.065, 0.114, 0.09, 0.078, 0.061, 0.102, 0.08, 0.068, 0.053,
];
const finger = (joint) => (joint === 0 ? 5 : (joint - 1) >> 2); // 0 thumb .. 4 little, 5 palm
const mix = (a, b, share) => ({ a, b, share });

/** Bones and the flesh between them: [start, end, radius at start, radius at end, colour at start, colour at end]. */
function anatomy(root) {
  const parts = [];
  const bone = (a, b) => parts.push([mix(a, a, 0), mix(b, b, 0), RADIUS[a], RADIUS[b], finger(b), finger(b)]);
  for (let base = 1; base < 21; base += 4) for (let j = base; j < base + 3; j++) bone(j, j + 1);
  for (const knuckle of [5, 9, 13, 17]) parts.push([mix(0, knuckle, 0.1), mix(knuckle, knuckle, 0), 0.155, RADIUS[knuckle], 5, finger(knuckle)]);
  parts.push([mix(0, 1, 0.1), mix(1, 1, 0), 0.14, RADIUS[1], 5, 0]);
  for (const [a, b] of [[5, 9], [9, 13], [13, 17]]) {
    parts.push([mix(0, a, 0.15), mix(a, b, 0.5), 0.15, 0.106, 5, 5]);
    parts.push([mix(a, a, 0), mix(b, b, 0), RADIUS[a] * 0.93, RADIUS[b] * 0.93, finger(a), finger(b)]);
  }
  parts.push([mix(1, 1, 0), mix(0, 5, 0.72), 0.125, 0.1, 0, 5]); // the ball of the thumb
  parts.push([mix(2, 2, 0), mix(0, 5, 0.8), 0.078, 0.092, 0, 5]); // the web between thumb and index finger
  if (root === "palm_centre") {
    // There is no wrist: the palm is spanned from the thumb's base instead.
    for (const knuckle of [5, 9, 13, 17]) parts.push([mix(1, 1, 0), mix(knuckle, knuckle, 0), 0.14, RADIUS[knuckle], 5, finger(knuckle)]);
  }
  return parts;
}

const AROUND = 14;
const CAP = 4;

/** A capsule of unit directions: `direction` on a sphere, `along` 0 at the start and 1 at the end. */
function unitCapsule() {
  const directions = [];
  const along = [];
  const index = [];
  const rings = 2 * (CAP + 1);
  for (let ring = 0; ring < rings; ring++) {
    const atEnd = ring > CAP;
    const latitude = atEnd ? ((ring - CAP - 1) / CAP) * (Math.PI / 2) : (-(CAP - ring) / CAP) * (Math.PI / 2);
    for (let i = 0; i <= AROUND; i++) {
      const turn = (2 * Math.PI * i) / AROUND;
      directions.push(Math.cos(latitude) * Math.cos(turn), Math.cos(latitude) * Math.sin(turn), Math.sin(latitude));
      along.push(atEnd ? 1 : 0);
      if (ring + 1 < rings && i < AROUND) {
        const here = ring * (AROUND + 1) + i;
        const above = here + AROUND + 1;
        index.push(here, here + 1, above, above, here + 1, above + 1);
      }
    }
  }
  return { directions, along, index };
}

const VERTEX_HEAD = `
attribute float along; attribute vec4 startRadius; attribute vec4 endRadius; attribute vec3 startColour; attribute vec3 endColour;
varying vec3 vTint;
mat3 boneFrame() {
  vec3 w = endRadius.xyz - startRadius.xyz;
  w = dot(w, w) > 1e-12 ? normalize(w) : vec3(0.0, 0.0, 1.0);
  vec3 u = normalize(cross(abs(w.y) < 0.9 ? vec3(0.0, 1.0, 0.0) : vec3(1.0, 0.0, 0.0), w));
  return mat3(u, cross(w, u), w);
}
`;

function wax(rimColour, opacity) {
  const material = new THREE.MeshStandardMaterial({ roughness: 0.48, metalness: 0, transparent: true, opacity });
  material.userData.rim = { value: new THREE.Color(rimColour) };
  material.onBeforeCompile = (shader) => {
    shader.uniforms.rimColour = material.userData.rim;
    shader.vertexShader = shader.vertexShader
      .replace("#include <common>", "#include <common>" + VERTEX_HEAD)
      .replace("#include <beginnormal_vertex>", "mat3 bone = boneFrame(); vec3 objectNormal = bone * normal; vTint = mix(startColour, endColour, along);")
      .replace(
        "#include <begin_vertex>",
        "vec3 transformed = mix(startRadius.xyz, endRadius.xyz, along) + bone * position * mix(startRadius.w, endRadius.w, along);",
      );
    shader.fragmentShader = shader.fragmentShader
      .replace("#include <common>", "#include <common>\nvarying vec3 vTint; uniform vec3 rimColour;")
      .replace("#include <color_fragment>", "diffuseColor.rgb *= vTint;")
      .replace(
        "#include <opaque_fragment>",
        // Light bleeds through thin skin: edges glow in the hand's own tint and are the least see-through.
        `float facing = saturate(dot(normal, normalize(vViewPosition)));
         float rim = pow(1.0 - facing, 2.2);
         outgoingLight += vTint * rimColour * rim * 0.55;
         outgoingLight += vTint * 0.06;
         diffuseColor.a = mix(diffuseColor.a, 1.0, rim * step(0.3, diffuseColor.a));
         #include <opaque_fragment>`,
      );
  };
  return material;
}

/** One hand as a solid. `shades` are six colours: thumb, index, middle, ring, little, palm. */
export class SolidHand {
  constructor(shades, { opacity = 0.93, rim = "#ffffff", order = 10, size = 1, root = "wrist" } = {}) {
    this.parts = anatomy(root);
    this.size = size;
    this.opacity = opacity;
    const { directions, along, index } = unitCapsule();
    const geometry = new THREE.InstancedBufferGeometry();
    geometry.setIndex(index);
    geometry.setAttribute("position", new THREE.Float32BufferAttribute(directions, 3));
    geometry.setAttribute("normal", new THREE.Float32BufferAttribute(directions, 3));
    geometry.setAttribute("along", new THREE.Float32BufferAttribute(along, 1));
    const dynamic = (name, items) => {
      const attribute = new THREE.InstancedBufferAttribute(new Float32Array(this.parts.length * items), items);
      geometry.setAttribute(name, attribute.setUsage(THREE.DynamicDrawUsage));
      return attribute;
    };
    this.start = dynamic("startRadius", 4);
    this.end = dynamic("endRadius", 4);
    this.startColour = dynamic("startColour", 3);
    this.endColour = dynamic("endColour", 3);
    this.geometry = geometry;
    this.paint(shades);

    // Depth first, then colour: a translucent hand shows what lies behind it, but not its own insides.
    const depth = wax(rim, 1);
    depth.colorWrite = false;
    const skin = wax(rim, opacity);
    skin.depthFunc = THREE.LessEqualDepth;
    this.skin = skin;
    this.object = new THREE.Group();
    for (const [material, place] of [[depth, order], [skin, order + 1]]) {
      const mesh = new THREE.Mesh(geometry, material);
      mesh.frustumCulled = false;
      mesh.renderOrder = place;
      this.object.add(mesh);
    }
  }

  paint(shades) {
    const colours = shades.map((shade) => new THREE.Color(shade));
    this.parts.forEach(([, , , , from, to], i) => {
      colours[from].toArray(this.startColour.array, 3 * i);
      colours[to].toArray(this.endColour.array, 3 * i);
    });
    this.startColour.needsUpdate = this.endColour.needsUpdate = true;
  }

  hide() {
    this.object.visible = false;
  }

  /** Show these joints (63 numbers, NaN unknown) at this strength, 0..1. */
  show(joints, strength = 1) {
    this.object.visible = strength > 0.01;
    this.skin.opacity = this.opacity * strength;
    this.object.children[0].visible = strength > 0.5;
    const known = (joint) => joints[3 * joint] === joints[3 * joint];
    // Some sources lack a joint (the thumb's base): its neighbours are then joined directly.
    const instead = (joint) => (known(joint) ? joint : joint === 1 && known(2) ? 2 : -1);
    this.parts.forEach(([from, to, startRadius, endRadius], i) => {
      const ends = [[from, startRadius, this.start], [to, endRadius, this.end]];
      const whole = ends.every(([end]) => instead(end.a) >= 0 && instead(end.b) >= 0);
      for (const [{ a, b, share }, radius, attribute] of ends) {
        const p = 3 * Math.max(0, instead(a));
        const q = 3 * Math.max(0, instead(b));
        for (let axis = 0; axis < 3; axis++) {
          attribute.array[4 * i + axis] = whole ? joints[p + axis] + share * (joints[q + axis] - joints[p + axis]) : 0;
        }
        attribute.array[4 * i + 3] = whole ? radius * this.size : 0;
      }
    });
    this.start.needsUpdate = this.end.needsUpdate = true;
  }

  dispose() {
    this.geometry.dispose();
    for (const mesh of this.object.children) mesh.material.dispose();
  }
}
