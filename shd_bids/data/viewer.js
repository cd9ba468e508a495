// Tracts in three dimensions, to be turned. The data stand in the page (see reports/figures/tractview.py):
// no library, no network, nothing is evaluated. Where it cannot run, a sentence in the page says so.
"use strict";
(() => {
  // Direction of view as two angles: around the vertical axis, and above the horizon, in degrees.
  const VIEWS = [
    ["Left", -90, 0], ["Right", 90, 0], ["Front", 180, 0], ["Back", 0, 0], ["Above", 0, 90], ["Below", 180, -90],
  ];
  const LETTERS = [["R", 0, 1], ["L", 0, -1], ["A", 1, 1], ["P", 1, -1], ["S", 2, 1], ["I", 2, -1]];
  // Points are turned to the page (right, up, toward); nearer ones are a little larger and brighter.
  const VERTEX = `#version 300 es
    in vec3 place; in vec3 color; in vec3 normal;
    uniform mat3 page; uniform float scale, reach, glass; uniform vec2 stretch, shift; uniform vec4 paint;
    out vec4 ink;
    void main() {
      vec3 seen = page * (place * scale) / reach;
      float w = 1.0 - 0.2 * seen.z;
      gl_Position = vec4(seen.xy * stretch + shift * w, -0.3 * seen.z * w, w);
      float rim = 1.0 - abs((page * normal).z);
      vec3 hue = mix(color, paint.rgb, paint.a) * clamp(0.72 + 0.4 * seen.z, 0.3, 1.0);
      ink = glass > 0.5 ? vec4(0.8, 0.87, 0.95, 0.03 + 0.3 * rim * rim * rim) : vec4(hue, 1.0);
    }`;
  const FRAGMENT = `#version 300 es
    precision mediump float; in vec4 ink; out vec4 pixel; void main() { pixel = ink; }`;

  for (const root of document.querySelectorAll(".tract-view")) {
    // Browsers allow few scenes at once, so that each waits until it is looked at.
    const watch = new IntersectionObserver((seen) => {
      if (!seen.some((entry) => entry.isIntersecting)) return;
      watch.disconnect();
      try { open(root); } catch (error) { refuse(root, error.message); }
    });
    watch.observe(root);
  }

  function refuse(root, why) {
    root.querySelector(".tract-view-stage").hidden = true;
    const said = root.querySelector(".tract-view-without");
    said.hidden = false;
    said.textContent = `The view that can be turned could not be opened (${why}). The pictures show the same streamlines.`;
  }

  function open(root) {
    const canvas = root.querySelector("canvas");
    const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
    if (!gl) throw new Error("this browser offers no WebGL 2");
    const scene = decode(root);
    const draw = prepare(gl, scene);
    const start = { turn: -145, lift: 20, zoom: 1, right: 0, up: 0 };
    const eye = { ...start };
    root.querySelector(".tract-view-without").hidden = true;
    root.querySelector(".tract-view-stage").hidden = false;
    const letters = LETTERS.map(([letter]) => add(root.querySelector(".tract-view-frame"), "span", letter));
    for (const span of letters) span.setAttribute("aria-hidden", "true");

    let due = false;
    const redraw = () => {
      if (due) return;
      due = true;
      requestAnimationFrame(() => { due = false; paint(); });
    };
    function paint() {
      const width = canvas.clientWidth, height = canvas.clientHeight, dense = window.devicePixelRatio || 1;
      canvas.width = Math.max(1, Math.round(width * dense));
      canvas.height = Math.max(1, Math.round(height * dense));
      const page = turned(eye), reach = Math.hypot(...scene.half);
      const least = 1.4 * Math.min(width, height) * eye.zoom;
      const stretch = [least / width, least / height];
      draw({ page, reach, stretch, shift: [eye.right, eye.up] });
      LETTERS.forEach(([, axis, side], i) => {
        const far = side * (scene.half[axis] / reach + 0.07);
        const [x, y, z] = page.map((row) => row[axis] * far), w = 1 - 0.2 * z;
        const left = (0.5 + 0.5 * (x * stretch[0] / w + eye.right)) * width;
        const top = (0.5 - 0.5 * (y * stretch[1] / w + eye.up)) * height;
        letters[i].style.transform = `translate(${left.toFixed(1)}px, ${top.toFixed(1)}px) translate(-50%, -50%)`;
        letters[i].style.opacity = Math.abs(page[2][axis]) > 0.93 ? 0 : 1;
      });
    }
    const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
    const turn = (x, y) => { eye.turn += x; eye.lift = clamp(eye.lift + y, -90, 90); redraw(); };
    const move = (x, y) => { eye.right = clamp(eye.right + x, -2, 2); eye.up = clamp(eye.up + y, -2, 2); redraw(); };
    const zoom = (factor) => { eye.zoom = clamp(eye.zoom * factor, 0.3, 20); redraw(); };
    const look = (view) => { Object.assign(eye, start, view); redraw(); };

    buttons(root, look, start);
    choices(root, scene, redraw);
    mouse(canvas, { turn, move, zoom });
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      const way = arrows[event.key];
      if (way && event.shiftKey) move(0.05 * way[0], 0.05 * way[1]);
      else if (way) turn(-6 * way[0], -6 * way[1]);
      else if (event.key === "+" || event.key === "=") zoom(1.15);
      else if (event.key === "-") zoom(1 / 1.15);
      else if (event.key === "0" || event.key === "Home") look(start);
      else return;
      event.preventDefault();
    });
    canvas.addEventListener("webglcontextlost", () => refuse(root, "the graphics card took it back"));
    new ResizeObserver(redraw).observe(canvas);
    paint();
  }

  function decode(root) {
    const scene = JSON.parse(root.querySelector(".tract-view-head").textContent);
    const text = atob(root.querySelector(".tract-view-data").textContent.trim());
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    let at = 0;
    const take = (Kind, count) => {
      const part = new Kind(bytes.buffer, at, count);
      at += part.byteLength;
      return part;
    };
    scene.lengths = take(Uint16Array, scene.n_line);
    scene.points = take(Int16Array, 3 * scene.n_point);
    scene.corners = take(Int16Array, 3 * scene.n_corner);
    scene.triangles = take(Uint16Array, 3 * scene.n_triangle);
    scene.normals = take(Int8Array, 3 * scene.n_corner);
    return scene;
  }

  function prepare(gl, scene) {
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error("its shaders were refused");
    gl.useProgram(program);
    const place = (name) => gl.getUniformLocation(program, name);
    const fill = (target, data) => {
      gl.bindBuffer(target, gl.createBuffer());
      gl.bufferData(target, data, gl.STATIC_DRAW);
    };
    const attach = (name, kind, data, even) => {
      const index = gl.getAttribLocation(program, name);
      fill(gl.ARRAY_BUFFER, data);
      gl.enableVertexAttribArray(index);
      gl.vertexAttribPointer(index, 3, kind, even, 0, 0);
    };
    const lines = gl.createVertexArray(), glass = gl.createVertexArray();
    gl.bindVertexArray(lines);
    attach("place", gl.SHORT, scene.points, false);
    attach("color", gl.UNSIGNED_BYTE, directions(scene), true);
    fill(gl.ELEMENT_ARRAY_BUFFER, strips(scene));
    gl.bindVertexArray(glass);
    attach("place", gl.SHORT, scene.corners, false);
    attach("normal", gl.BYTE, scene.normals, true);
    fill(gl.ELEMENT_ARRAY_BUFFER, scene.triangles);
    gl.enable(gl.DEPTH_TEST);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    return ({ page, reach, stretch, shift }) => {
      gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
      gl.clearColor(0, 0, 0, 1);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.uniformMatrix3fv(place("page"), true, page.flat());
      gl.uniform1f(place("scale"), scene.step_mm);
      gl.uniform1f(place("reach"), reach);
      gl.uniform2fv(place("stretch"), stretch);
      gl.uniform2fv(place("shift"), shift);
      gl.uniform1f(place("glass"), 0);
      gl.bindVertexArray(lines);
      for (const group of scene.groups) {
        gl.uniform4fv(place("paint"), group.color ? [...group.color, 1] : [0, 0, 0, 0]);
        if (!group.hidden) gl.drawElements(gl.LINE_STRIP, group.count, gl.UNSIGNED_INT, 4 * group.from);
      }
      if (scene.glassHidden) return;
      gl.uniform1f(place("glass"), 1);
      gl.bindVertexArray(glass);
      gl.enable(gl.BLEND);
      gl.depthMask(false);
      gl.drawElements(gl.TRIANGLES, scene.triangles.length, gl.UNSIGNED_SHORT, 0);
      gl.depthMask(true);
      gl.disable(gl.BLEND);
    };
  }

  // Red, green, blue for the direction from each point's neighbour before to that after.
  function directions({ lengths, points }) {
    const colors = new Uint8Array(points.length);
    let first = 0;
    for (const length of lengths) {
      for (let i = first; i < first + length; i++) {
        const a = 3 * Math.max(i - 1, first), b = 3 * Math.min(i + 1, first + length - 1);
        const step = [0, 1, 2].map((k) => Math.abs(points[b + k] - points[a + k]));
        const size = Math.hypot(...step) || 1;
        step.forEach((part, k) => { colors[3 * i + k] = Math.round(255 * part / size); });
      }
      first += length;
    }
    return colors;
  }

  // All points in order, with the number that ends a strip behind each line; groups learn their part.
  function strips(scene) {
    const order = new Uint32Array(scene.n_point + scene.n_line);
    let at = 0, point = 0, line = 0;
    for (const group of scene.groups) {
      group.from = at;
      for (const end = line + group.n_line; line < end; line++) {
        for (let i = 0; i < scene.lengths[line]; i++) order[at++] = point++;
        order[at++] = 0xffffffff;
      }
      group.count = at - group.from;
    }
    return order;
  }

  // Rows: right, up and toward the reader, in RAS axes.
  function turned({ turn, lift }) {
    const [s, c] = [Math.sin(turn * Math.PI / 180), Math.cos(turn * Math.PI / 180)];
    const [t, f] = [Math.sin(lift * Math.PI / 180), Math.cos(lift * Math.PI / 180)];
    return [[c, s, 0], [-t * s, t * c, f], [s * f, -c * f, t]];
  }

  function mouse(canvas, { turn, move, zoom }) {
    const held = new Map();
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, [event.clientX, event.clientY]);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => held.delete(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      const before = held.get(event.pointerId);
      if (!before) return;
      const now = [event.clientX, event.clientY], x = now[0] - before[0], y = now[1] - before[1];
      const other = [...held].find(([id]) => id !== event.pointerId);
      const right = 2 * x / canvas.clientWidth, up = -2 * y / canvas.clientHeight;
      if (other) { // two fingers: their distance zooms, each moves the scene by half
        const span = (p) => Math.hypot(p[0] - other[1][0], p[1] - other[1][1]) || 1;
        zoom(span(now) / span(before));
        move(right / 2, up / 2);
      } else if (event.shiftKey || event.buttons > 1) move(right, up);
      else turn(-0.4 * x, 0.4 * y);
      held.set(event.pointerId, now);
    });
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) return; // the page goes on scrolling past the view
      event.preventDefault();
      zoom(Math.exp(-0.0015 * event.deltaY));
    }, { passive: false });
  }

  function buttons(root, look, start) {
    const bar = root.querySelector(".tract-view-bar");
    const views = [...VIEWS.map(([name, turn, lift]) => [name, { turn, lift }]), ["Reset", start]];
    for (const [name, view] of views) {
      const button = add(bar, "button", name);
      button.type = "button";
      if (name !== "Reset") button.setAttribute("aria-label", `See from: ${name.toLowerCase()}`);
      button.addEventListener("click", () => look(view));
    }
  }

  function choices(root, scene, redraw) {
    const list = root.querySelector(".tract-view-groups");
    const offer = (name, color, change) => {
      const label = add(list, "label", ""), box = add(label, "input", "");
      box.type = "checkbox";
      box.checked = true;
      if (color) add(label, "i", "").style.background = `rgb(${color.map((part) => Math.round(255 * part))})`;
      label.append(name);
      box.addEventListener("change", () => { change(!box.checked); redraw(); });
      return box;
    };
    const boxes = scene.groups.map((group) => offer(group.name, group.color, (off) => { group.hidden = off; }));
    offer("Brain surface", null, (off) => { scene.glassHidden = off; });
    if (boxes.length > 2) { // with bundles, the whole brain would hide them
      boxes[0].checked = false;
      scene.groups[0].hidden = true;
    }
  }

  function add(parent, tag, text) {
    const made = document.createElement(tag);
    made.textContent = text;
    parent.append(made);
    return made;
  }
})();
