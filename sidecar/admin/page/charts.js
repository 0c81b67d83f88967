// One chart of the last ten minutes: lines, or steps stacked on each other. It has a legend with
// the values of now, or of the instant that is pointed at (mouse, finger, arrow keys); a sentence
// for who cannot see it; and its values by the minute as a table.

import { ceiling, clock, minute, sum } from "./figures.js";
import { el, keyed, say } from "./tables.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 150;
const TOP = 8;
const BOTTOM = 18;
const GUTTER = 50;
const TICK_SECONDS = 120;

function svg(tag, attributes = {}) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

export class Chart {
  // format tells a value; fold says what stands for a minute in the table.
  constructor(figure, { title, note, format, stacked = false, fold = "average", empty, least }) {
    this.title = title;
    this.format = format;
    this.stacked = stacked;
    this.fold = fold;
    this.least = least;
    this.points = [];
    this.series = [];
    this.at = null;
    this.when = el("span", { class: "quiet when" });
    this.legend = el("ul", { class: "legend" });
    this.spoken = el("p", { class: "unseen", "aria-live": "polite" });
    this.empty = el("p", { class: "empty over", hidden: "" }, empty);
    this.svg = svg("svg", { role: "img", tabindex: "0", height: HEIGHT });
    this.body = el("tbody");
    this.head = el("tr");
    const table = el("table", { class: "numbers" }, el("thead", {}, this.head), this.body);
    this.details = el("details", {}, el("summary", {}, "by the minute"), table);
    figure.append(
      el("figcaption", {}, el("h2", {}, title), el("span", { class: "quiet" }, note), this.when),
      this.legend,
      el("div", { class: "plot" }, this.svg, this.empty),
      this.spoken,
      this.details,
    );
    this.parts = {
      grid: svg("g", { class: "grid" }),
      data: svg("g", { class: "data" }),
      cursor: svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM }),
    };
    this.svg.append(...Object.values(this.parts));
    new ResizeObserver(() => this.draw()).observe(figure);
    this.details.addEventListener("toggle", () => this.tabulate());
    this.listen();
  }

  listen() {
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerdown", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.show(null));
    this.svg.addEventListener("blur", () => this.show(null));
    this.svg.addEventListener("keydown", (event) => {
      const last = this.points.length - 1;
      const from = this.at ?? last + 1;
      const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last, Escape: null };
      if (last < 0 || !(event.key in to)) return;
      event.preventDefault();
      this.show(to[event.key] === null ? null : Math.min(last, Math.max(0, to[event.key])));
      say(this.spoken, this.at === null ? "" : `${clock(this.points[this.at].time)}: ${this.told(this.at)}`);
    });
  }

  // points: {time, seconds, gap}; series: {name, paint, values, now}, a value for each point or null.
  update(points, series, span) {
    const pointed = this.at === null ? null : this.points[this.at].time;
    this.points = points;
    this.series = series;
    this.span = span;
    // What was pointed at stays pointed at while time moves on under it.
    const found = points.findIndex((point) => point.time === pointed);
    this.at = pointed === null || found < 0 ? null : found;
    this.draw();
    this.tabulate();
  }

  draw() {
    this.width = Math.max(200, this.svg.parentElement.clientWidth);
    this.svg.setAttribute("width", this.width);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    const end = this.points.length ? this.points[this.points.length - 1].time : 0;
    const right = this.width - 1;
    const x = (time) => right - ((end - time) / (this.span || 600)) * (right - GUTTER);
    const highest = Math.max(0, ...this.heights());
    const top = ceiling(Math.max(highest, this.least));
    const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
    this.x = x;
    this.grid(x, y, top, end);
    this.parts.data.replaceChildren(...(this.stacked ? this.stacks(x, y) : this.lines(x, y)));
    this.empty.hidden = this.series.some((each) => each.values.some((value) => value));
    this.svg.setAttribute("aria-label", this.summary());
    this.show(this.at);
  }

  heights() {
    if (!this.stacked) return this.series.flatMap((each) => each.values.filter((v) => v !== null));
    return this.points.map((_, i) => sum(this.series.map((each) => each.values[i] ?? 0)));
  }

  grid(x, y, top, end) {
    const parts = [];
    for (const value of [0, top / 2, top]) {
      const at = Math.round(y(value)) + 0.5;
      parts.push(svg("line", { x1: GUTTER, x2: this.width, y1: at, y2: at }));
      const label = svg("text", { x: GUTTER - 6, y: at + 4, "text-anchor": "end" });
      label.textContent = value ? this.format(value) : "0";
      parts.push(label);
    }
    for (let time = Math.ceil((end - (this.span || 600)) / TICK_SECONDS) * TICK_SECONDS; end && time <= end; time += TICK_SECONDS) {
      const at = x(time);
      if (at < GUTTER + 16 || at > this.width - 16) continue;
      const label = svg("text", { x: at.toFixed(1), y: HEIGHT - 4, "text-anchor": "middle" });
      label.textContent = minute(time);
      parts.push(label, svg("line", { x1: at, x2: at, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 3 }));
    }
    this.parts.grid.replaceChildren(...parts);
  }

  lines(x, y) {
    return this.series.map(({ values, paint }) => {
      let path = "";
      let pen = false;
      this.points.forEach((point, i) => {
        const at = x(point.time);
        if (values[i] === null || at < GUTTER) {
          pen = false;
          return;
        }
        const going = pen && !point.gap;
        const place = `${at.toFixed(1)} ${y(values[i]).toFixed(1)}`;
        // A lone point would not be seen without its length.
        path += going ? `L${place}` : `M${place}h0.01`;
        pen = true;
      });
      return svg("path", { d: path, class: `stroke ${paint}` });
    });
  }

  stacks(x, y) {
    const below = this.points.map(() => 0);
    return this.series.map(({ values, paint }) => {
      let path = "";
      this.points.forEach((point, i) => {
        if (!values[i]) return;
        const from = Math.max(GUTTER, x(point.time - point.seconds));
        const to = x(point.time);
        if (to <= GUTTER) return;
        const low = y(below[i]).toFixed(1);
        below[i] += values[i];
        path += `M${from.toFixed(1)} ${low}V${y(below[i]).toFixed(1)}H${to.toFixed(1)}V${low}Z`;
      });
      return svg("path", { d: path, class: `fill ${paint}` });
    });
  }

  point(event) {
    if (!this.points.length) return;
    const at = event.clientX - this.svg.getBoundingClientRect().left;
    let nearest = 0;
    this.points.forEach((point, i) => {
      if (Math.abs(this.x(point.time) - at) < Math.abs(this.x(this.points[nearest].time) - at)) nearest = i;
    });
    this.show(nearest);
  }

  show(index) {
    this.at = index;
    const point = index === null ? null : this.points[index];
    this.parts.cursor.classList.toggle("shown", point !== null);
    if (point) {
      const x = this.x(point.time).toFixed(1);
      this.parts.cursor.setAttribute("x1", x);
      this.parts.cursor.setAttribute("x2", x);
    }
    say(this.when, point ? `at ${clock(point.time)}` : "");
    keyed(
      this.legend,
      this.series.map((each) => ({ key: each.name, ...each })),
      (each) => el("li", {}, el("i", { class: `swatch ${each.paint}` }), el("span", {}, each.name), el("b")),
      (li, each) => {
        li.firstElementChild.className = `swatch ${each.paint}`;
        say(li.lastElementChild, this.format(point ? each.values[index] : each.now));
      },
    );
  }

  told(index) {
    return this.series.map((each) => `${each.name} ${this.format(each.values[index])}`).join(", ");
  }

  summary() {
    const told = this.series.map((each) => {
      const values = each.values.map((value) => value ?? 0);
      const highest = Math.max(0, ...values);
      const at = values.indexOf(highest);
      const peak = highest ? `, highest ${this.format(highest)} at ${clock(this.points[at].time)}` : "";
      return `${each.name}: now ${this.format(each.now)}${peak}`;
    });
    return `${this.title}, the last ten minutes. ${told.join(". ") || "Nothing yet"}.`;
  }

  tabulate() {
    if (!this.details.open) return;
    const minutes = new Map();
    this.points.forEach((point, i) => {
      const key = Math.floor(point.time / 60) * 60;
      minutes.set(key, [...(minutes.get(key) ?? []), i]);
    });
    this.head.replaceChildren(
      el("th", { scope: "col" }, this.fold),
      ...this.series.map((each) => el("th", { scope: "col", class: "n" }, each.name)),
    );
    this.body.replaceChildren(
      ...[...minutes].reverse().map(([start, places]) =>
        el("tr", {}, el("th", { scope: "row" }, minute(start)), ...this.series.map((each) => {
          const values = places.map((i) => each.values[i]).filter((value) => value !== null);
          let value = null;
          if (values.length) value = this.fold === "average" ? sum(values) / values.length : Math.max(...values);
          return el("td", { class: "n" }, this.format(value));
        })),
      ),
    );
  }
}
