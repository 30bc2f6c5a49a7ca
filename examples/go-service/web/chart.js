// The live chart: what it reads out of /metrics, and how it is drawn.

// parse reads Prometheus' text format: a list of {name, labels, value}.
export function parse(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, name, value] of (match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    }
    samples.push({ name: match[1], labels, value: Number(match[3]) });
  }
  return samples;
}

// histograms are the buckets of http_request_seconds by route: a list of [bound, count of requests up to it].
export function histograms(samples) {
  const routes = new Map();
  for (const { name, labels, value } of samples) {
    if (name !== "http_request_seconds_bucket") continue;
    if (!routes.has(labels.route)) routes.set(labels.route, []);
    routes.get(labels.route).push([labels.le === "+Inf" ? Infinity : Number(labels.le), value]);
  }
  return routes;
}

// since is what came into a histogram after an earlier reading of it.
export function since(now, before) {
  return now.map(([bound, count], i) => [bound, count - (before?.[i]?.[1] ?? 0)]);
}

// quantile estimates a quantile in seconds, with linear interpolation within its bucket; null if the histogram is empty.
export function quantile(buckets, q) {
  const total = buckets.length ? buckets[buckets.length - 1][1] : 0;
  if (total <= 0) return null;
  const rank = q * total;
  let lower = 0, below = 0;
  for (const [bound, count] of buckets) {
    if (count >= rank) return bound === Infinity ? lower : lower + (bound - lower) * ((rank - below) / (count - below));
    lower = bound;
    below = count;
  }
  return lower;
}

const lines = ["p50", "p95", "p99"];
const span = 120; // seconds
const area = { left: 56, right: 950, top: 22, bottom: 192 };

// Chart draws points {time, p50, p95, p99}, in seconds, over a logarithmic axis of milliseconds.
export class Chart {
  constructor(svg) {
    this.svg = svg;
    this.points = [];
  }

  add(point) {
    this.points.push(point);
    while (this.points[0].time < point.time - span) this.points.shift();
  }

  clear() {
    this.points = [];
  }

  draw(now) {
    const values = this.points.flatMap((point) => lines.map((line) => point[line] * 1000)).filter((value) => value > 0);
    const low = Math.floor(Math.log10(Math.min(1, ...values))), high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(10, ...values))));
    const x = (time) => area.right - ((now - time) / span) * (area.right - area.left);
    const y = (ms) => area.bottom - ((Math.log10(ms) - low) / (high - low)) * (area.bottom - area.top);
    const parts = [];
    for (let power = low; power <= high; power++) {
      const at = y(10 ** power);
      parts.push(element("line", { class: "grid", x1: area.left, x2: area.right, y1: at, y2: at }));
      parts.push(element("text", { x: area.left - 6, y: at + 4, "text-anchor": "end" }, `${10 ** power} ms`));
    }
    for (let seconds = 0; seconds <= span; seconds += 30) {
      const label = seconds === 0 ? "now" : `−${seconds} s`;
      parts.push(element("text", { x: x(now - seconds), y: area.bottom + 18, "text-anchor": seconds === 0 ? "end" : "middle" }, label));
    }
    lines.forEach((line, i) => {
      parts.push(element("text", { class: line, x: area.left + 6 + 44 * i, y: 14 }, line));
      parts.push(element("path", { class: line, d: this.path(line, x, y) }));
      // A point without neighbours has no line.
      for (const point of this.points) {
        parts.push(element("circle", { class: line, cx: x(point.time).toFixed(1), cy: y(point[line] * 1000).toFixed(1), r: 1.6 }));
      }
    });
    this.svg.replaceChildren(...parts);
  }

  // path joins points that follow each other; a pause without requests is a gap.
  path(line, x, y) {
    let d = "", last = -Infinity;
    for (const point of this.points) {
      d += `${point.time - last > 5 ? "M" : "L"}${x(point.time).toFixed(1)} ${y(point[line] * 1000).toFixed(1)}`;
      last = point.time;
    }
    return d;
  }
}

function element(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
