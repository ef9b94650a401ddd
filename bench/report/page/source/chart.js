// Axes, lines, bands, points and labels of a chart; nothing here knows what is drawn.
async function unpacked() {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent), (one) => one.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}

const NS = "http://www.w3.org/2000/svg";

function make(name, attributes, parent) {
  const node = document.createElementNS(NS, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (parent) parent.appendChild(node);
  return node;
}

function write(parent, x, y, said, attributes) {
  const node = make("text", Object.assign({ x: x.toFixed(1), y: y.toFixed(1), fill: ink("ink") }, attributes), parent);
  node.textContent = said;
  return node;
}

function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
}

const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const number = (value) => {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(1).replace("e+", "e");
  return size >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
};

class Chart {
  // x, y: {low, high, log, label, format}
  constructor(svg, x, y, tall) {
    this.svg = svg;
    this.x = x;
    this.y = y;
    this.width = Math.max(300, svg.parentNode.clientWidth || 900);
    this.small = this.width < 560;
    this.height = Math.round(Math.min(1100 * (tall || 0.56), Math.max(tall ? 240 : 330, this.width * (tall || 0.56))));
    this.left = this.small ? 46 : 58;
    this.right = this.width - (this.small ? 10 : 16);
    this.top = 14;
    this.bottom = this.height - 44;
    this.font = 12;
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    svg.setAttribute("width", this.width);
    svg.setAttribute("height", this.height);
    svg.setAttribute("font-family", "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif");
    svg.setAttribute("font-size", this.font);
    this.id = svg.id + "clip";
    const clip = make("clipPath", { id: this.id }, make("defs", {}, svg));
    make("rect", this.box(), clip);
    this.grid = make("g", {}, svg);
    this.under = make("g", { "clip-path": `url(#${this.id})` }, svg);
    this.lines = make("g", { "clip-path": `url(#${this.id})` }, svg);
    this.points = make("g", {}, svg);
    this.words = make("g", {}, svg);
    this.over = make("g", {}, svg);
    this.taken = [];
    this.axes();
  }

  box() {
    return { x: this.left, y: this.top, width: this.right - this.left, height: this.bottom - this.top };
  }

  place(axis, value, from, to) {
    const at = axis.log ? Math.log10(value) : value;
    const [low, high] = axis.log ? [Math.log10(axis.low), Math.log10(axis.high)] : [axis.low, axis.high];
    return from + ((at - low) / (high - low)) * (to - from);
  }

  X(value) {
    return this.place(this.x, value, this.left, this.right);
  }

  Y(value) {
    return this.place(this.y, value, this.bottom, this.top);
  }

  ticks(axis, room) {
    if (axis.ticks) return axis.ticks.map((value) => ({ value, major: true }));
    if (!axis.log) {
      const rough = (axis.high - axis.low) / Math.max(2, Math.floor(room / 55));
      const power = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
      const found = [];
      for (let at = Math.ceil(axis.low / step) * step; at <= axis.high + step / 1e6; at += step) {
        found.push({ value: Number(at.toPrecision(10)), major: true });
      }
      return found;
    }
    const found = [];
    const decades = Math.log10(axis.high / axis.low);
    for (let power = Math.floor(Math.log10(axis.low)); power <= Math.ceil(Math.log10(axis.high)); power++) {
      for (let digit = 1; digit < 10; digit++) {
        const value = digit * 10 ** power;
        if (value < axis.low * 0.999 || value > axis.high * 1.001) continue;
        const named = digit === 1 || ((digit === 2 || digit === 5) && room / decades > 130);
        found.push({ value, major: digit === 1, minor: !named });
      }
    }
    return found;
  }

  axes() {
    const { x, y, left, right, top, bottom } = this;
    const soft = ink("soft");
    for (const tick of this.ticks(x, right - left)) {
      const at = this.X(tick.value).toFixed(1);
      make("line", { x1: at, x2: at, y1: top, y2: bottom, stroke: ink(tick.major ? "line" : "grid"), "stroke-width": tick.minor ? 0.5 : 1 }, this.grid);
      if (!tick.minor) write(this.grid, Math.min(+at, this.width - 2), bottom + 16, (x.format || number)(tick.value), { "text-anchor": +at > this.width - 22 ? "end" : "middle", fill: soft });
    }
    for (const tick of this.ticks(y, bottom - top)) {
      const at = this.Y(tick.value).toFixed(1);
      make("line", { x1: left, x2: right, y1: at, y2: at, stroke: ink(tick.major ? "line" : "grid"), "stroke-width": tick.minor ? 0.5 : 1 }, this.grid);
      if (!tick.minor) write(this.grid, left - 7, +at + 4, (y.format || number)(tick.value), { "text-anchor": "end", fill: soft });
    }
    write(this.grid, (left + right) / 2, this.height - 8, x.label, { "text-anchor": "middle" });
    const said = write(this.grid, 0, 0, y.label, { "text-anchor": "middle" });
    said.setAttribute("transform", `translate(12 ${(top + bottom) / 2}) rotate(-90)`);
  }

  path(points) {
    return points.map(([x, y], i) => `${i ? "L" : "M"}${this.X(x).toFixed(1)},${this.Y(y).toFixed(1)}`).join("");
  }

  line(points, colour, dash, width) {
    make("path", { d: this.path(points), fill: "none", stroke: colour, "stroke-width": width || 2, "stroke-dasharray": dash || "none", "stroke-linejoin": "round" }, this.lines);
  }

  // upper and lower: points of the same x
  band(upper, lower, colour, opacity) {
    const d = this.path([...upper, ...[...lower].reverse()]) + "Z";
    make("path", { d, fill: colour, "fill-opacity": opacity, stroke: "none" }, this.under);
  }

  // across the whole height, from x to x
  pillar(low, high, colour, opacity) {
    const [from, to] = [this.X(low), this.X(high)];
    make("rect", { x: from.toFixed(1), width: Math.max(1, to - from).toFixed(1), y: this.top, height: this.bottom - this.top, fill: colour, "fill-opacity": opacity }, this.under);
  }

  whisker(x, low, high, colour) {
    const at = this.X(x).toFixed(1);
    make("line", { x1: at, x2: at, y1: this.Y(low).toFixed(1), y2: this.Y(high).toFixed(1), stroke: colour, "stroke-width": 1, "stroke-opacity": 0.4, "clip-path": `url(#${this.id})` }, this.points);
  }

  point(x, y, shape, colour, filled, scale) {
    const [at, up] = [this.X(x), this.Y(y)];
    make("path", {
      d: shape,
      transform: `translate(${at.toFixed(1)} ${up.toFixed(1)}) scale(${scale || 0.9})`,
      fill: filled ? colour : ink("page"),
      "fill-opacity": filled ? 0.85 : 0.6,
      stroke: filled ? ink("page") : colour,
      "stroke-width": filled ? 0.8 : 1.6,
    }, this.points);
    return [at, up];
  }

  // Words at the first of some places where nothing is written yet: that place, or null where there is none.
  label(said, places, attributes) {
    const wide = said.length * this.font * 0.56;
    const boxes = places.map(([x, y, anchor]) => {
      const from = anchor === "end" ? x - wide : anchor === "middle" ? x - wide / 2 : x;
      return [from, y - this.font, from + wide, y + 3];
    });
    const inside = ([a, b, c, d]) => a >= this.left && c <= this.width && b >= 0 && d <= this.bottom + 2;
    let best = boxes.findIndex((one) => inside(one) && !this.taken.some((other) => one[0] < other[2] && other[0] < one[2] && one[1] < other[3] && other[1] < one[3]));
    if (best < 0) return null;
    this.taken.push(boxes[best]);
    const [x, y, anchor] = places[best];
    write(this.words, x, y, said, Object.assign({ "text-anchor": anchor, "paint-order": "stroke", stroke: ink("page"), "stroke-width": 3, "stroke-linejoin": "round" }, attributes));
    return places[best];
  }

  ring(x, y) {
    make("circle", { cx: this.X(x).toFixed(1), cy: this.Y(y).toFixed(1), r: 9, fill: "none", stroke: ink("ink"), "stroke-width": 1.6 }, this.over);
  }
}
