// The page: asks every two seconds, keeps ten minutes, and hands each part what it shows.

import { Chart } from "./charts.js";
import { Decisions } from "./decisions.js";
import { addAll, clock, count, quantile, rate, seconds, share, span, sum, utc } from "./figures.js";
import { byId, el, fill, keyed, say } from "./tables.js";

const EVERY_MS = 2000;
const PATIENCE_MS = 30_000;
const OLD_SECONDS = 7;
const NOW_STEPS = 5;
const STACKED = 5;
const PAINTS = ["p1", "p2", "p3", "p4", "p5"];

const state = {
  live: null, // the latest document
  earlier: [], // a few before it, for the rates of routes
  points: [],
  next: 0, // number of the first step that is not here yet
  heardAt: null, // when, on our own clock
  failure: "",
  asking: false,
};

async function get(target) {
  const answer = await fetch(target, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  let document = null;
  try {
    document = await answer.json();
  } catch {
    document = null;
  }
  return { status: answer.status, document };
}

const decisions = new Decisions(get);

async function poll() {
  if (state.asking || document.hidden) return;
  state.asking = true;
  try {
    const answer = await get(`live?since=${state.next}`);
    if (answer.status !== 200) throw new Error(answer.document?.error ?? `it says ${answer.status}`);
    if (take(answer.document)) {
      show();
      await decisions.refresh();
    }
  } catch (error) {
    state.failure = spoken(error);
  } finally {
    state.asking = false;
    age();
  }
}

function spoken(error) {
  if (error.name === "TimeoutError") return `no answer within ${PATIENCE_MS / 1000} s`;
  // What fetch throws when nobody is there says nothing to a person.
  if (error instanceof TypeError) return "nothing answers at this address; was `sidecar ui` ended?";
  return error.message;
}

// Take in a document; false where it is of a new run and must be asked for from its beginning.
function take({ live, history }) {
  if (state.live && state.live.started !== live.started) {
    Object.assign(state, { live: null, earlier: [], next: 0 });
    setTimeout(poll);
    return false;
  }
  if (state.live) state.earlier = [...state.earlier, state.live].slice(-NOW_STEPS);
  for (const step of history) {
    const last = state.points[state.points.length - 1];
    const gap = !last || step.time - last.time > 3 * step.seconds + 1 || step.time < last.time;
    state.points.push({ ...step, gap });
    state.next = step.seq + 1;
  }
  const end = state.points.length ? state.points[state.points.length - 1].time : 0;
  const length = live.steps * live.step_seconds;
  state.points = state.points.filter((point) => point.time > end - length && point.time <= end);
  Object.assign(state, { live, heardAt: performance.now(), failure: "" });
  return true;
}

// --- charts ---

const charts = {
  requests: new Chart(byId("chart-requests"), {
    title: "Requests", note: "per second", format: rate, least: 1, empty: "No requests in these ten minutes.",
  }),
  inbound: new Chart(byId("chart-inbound"), {
    title: "Inbound latency", note: "over 10 s", format: seconds, fold: "highest", least: 0.001, empty: "No requests in these ten minutes.",
  }),
  overhead: new Chart(byId("chart-overhead"), {
    title: "Added by the sidecar", note: "over 10 s", format: seconds, fold: "highest", least: 0.0001, empty: "No requests in these ten minutes.",
  }),
  refusals: new Chart(byId("chart-refusals"), {
    title: "Refusals", note: "per second, by reason", format: rate, stacked: true, least: 1, empty: "No refusals in these ten minutes.",
  }),
  attributions: new Chart(byId("chart-attributions"), {
    title: "Outbound calls", note: "per second, by attribution", format: rate, stacked: true, least: 1, empty: "No call that needed attribution in these ten minutes.",
  }),
  outbound: new Chart(byId("chart-outbound"), {
    title: "Outbound latency", note: "over 10 s", format: seconds, fold: "highest", least: 0.001, empty: "No outbound calls in these ten minutes.",
  }),
};

// The newest steps, as many as make ten seconds, all of one run.
function recent(until = state.points.length) {
  const found = [];
  for (let i = until - 1; i >= 0 && found.length < NOW_STEPS; i--) {
    found.unshift(state.points[i]);
    if (state.points[i].gap) break;
  }
  return found;
}

const perSecond = (steps, counted) =>
  (steps.length ? sum(steps.map(counted)) / sum(steps.map((step) => step.seconds)) : null);

function rates(name, paint, counted) {
  return {
    name,
    paint,
    values: state.points.map((step) => counted(step) / step.seconds),
    now: perSecond(recent(), counted),
  };
}

function quantiles(shares, histogram, bounds) {
  const windows = state.points.map((_, i) => addAll(recent(i + 1).map(histogram)));
  return shares.map(([name, paint, q]) => {
    const values = windows.map((counts) => quantile(q, counts, bounds));
    return { name, paint, values, now: values.length ? values[values.length - 1] : null };
  });
}

// The most frequent of a step's series, the rest as one.
function stacked(series, nameOf, paintOf = () => null) {
  const totals = new Map();
  const each = state.points.map((step) => {
    const names = new Map();
    for (const [labels, counted] of series(step)) {
      const name = nameOf(labels);
      names.set(name, (names.get(name) ?? 0) + counted);
      totals.set(name, (totals.get(name) ?? 0) + counted);
    }
    return names;
  });
  const ranked = [...totals].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const shown = ranked.slice(0, ranked.length > STACKED ? STACKED - 1 : STACKED);
  const rest = ranked.slice(shown.length);
  const groups = shown.map((name, i) => ({ name, paint: paintOf(name) ?? PAINTS[i], names: [name] }));
  if (rest.length) groups.push({ name: `${rest.length} others`, paint: "p0", names: rest });
  const at = new Map(state.points.map((step, i) => [step, i]));
  return groups.map(({ name, paint, names }) => {
    const counted = (step) => sum(names.map((one) => each[at.get(step)].get(one) ?? 0));
    return { ...rates(name, paint, counted) };
  });
}

function draw() {
  const { live, points } = state;
  const length = live.steps * live.step_seconds;
  const { duration_bounds: durations, overhead_bounds: overheads } = live;
  const shares = [["p99", "p2", 0.99], ["p90", "p4", 0.9], ["p50", "p1", 0.5]];
  charts.requests.update(points, [
    rates("inbound", "p1", (step) => step.inbound.requests),
    rates("outbound", "p3", (step) => step.outbound.requests),
    rates("5xx", "bad", (step) => step.inbound.errors + step.outbound.errors),
  ], length);
  charts.inbound.update(points, quantiles(shares, (step) => step.inbound.duration, durations), length);
  charts.outbound.update(points, quantiles(shares, (step) => step.outbound.duration, durations), length);
  charts.overhead.update(points, [
    ...quantiles([["in p99", "p2", 0.99], ["in p50", "p1", 0.5]], (step) => step.inbound.overhead, overheads),
    ...quantiles([["out p99", "p4", 0.99], ["out p50", "p3", 0.5]], (step) => step.outbound.overhead, overheads),
  ], length);
  charts.refusals.update(points, stacked((step) => step.refusals, ([, reason]) => reason), length);
  charts.attributions.update(points, stacked(
    (step) => step.attributions,
    ([, , outcome]) => outcome,
    (outcome) => ({ attached: "p3", own: "p4", accompanied: "p2", anonymous: "p0" })[outcome] ?? null,
  ), length);
}

// --- figures and tables ---

function tiles() {
  const { live, points } = state;
  const steps = recent();
  const inbound = perSecond(steps, (step) => step.inbound.requests);
  const outbound = perSecond(steps, (step) => step.outbound.requests);
  const turned = (step) => sum(step.refusals.filter(([labels]) => labels[3] !== "false").map(([, n]) => n));
  const refused = perSecond(steps, turned);
  const durations = addAll(steps.map((step) => step.inbound.duration));
  const overheads = addAll(steps.map((step) => step.inbound.overhead));
  const at = (q, counts, bounds) => seconds(quantile(q, counts, bounds));
  const { ledger, token_cache: cache } = live.status;
  const lookups = cache.hits + cache.misses;
  const rows = [
    ["Inbound", rate(inbound), "/s", `${count(live.inbound.requests)} since the start`],
    ["Outbound", rate(outbound), "/s", `${count(live.outbound.requests)} since the start`],
    ["Refused", rate(refused), "/s", refused === null ? "" : `${share(refused, inbound + outbound)} of both`, refused ? "bad" : ""],
    ["Latency p99", at(0.99, durations, live.duration_bounds), "", `p50 ${at(0.5, durations, live.duration_bounds)}, inbound`],
    ["Added p99", at(0.99, overheads, live.overhead_bounds), "", `p50 ${at(0.5, overheads, live.overhead_bounds)}, by us`],
    ["In progress", count(live.inbound.in_flight), "in", `${count(live.outbound.in_flight)} out`],
    ["Ledger", count(ledger.entries), "", `of ${count(ledger.capacity)}, ${share(ledger.entries, ledger.capacity)}`, ledger.entries > 0.8 * ledger.capacity ? "bad" : "", ledger],
    ["Token cache", share(cache.hits, lookups), "", lookups ? `${count(lookups)} look-ups` : "not asked yet"],
  ];
  keyed(
    byId("tiles"),
    rows.map((row) => ({ key: row[0], row })),
    ({ row }) => el("div", {}, el("dt", {}, row[0]), el("dd", {}, el("b"), el("i")), el("dd", { class: "quiet" }), row[5] ? el("meter", { min: 0, "aria-label": "Ledger fill" }) : null),
    (tile, { row: [, value, unit, below, kind, fillOf] }) => {
      const [main, note] = tile.querySelectorAll("dd");
      tile.className = kind ?? "";
      say(main.firstElementChild, value);
      say(main.lastElementChild, unit);
      say(note, points.length || fillOf ? below : "");
      if (fillOf) {
        const meter = tile.querySelector("meter");
        meter.max = fillOf.capacity;
        meter.high = 0.8 * fillOf.capacity;
        meter.value = fillOf.entries;
      }
    },
  );
}

// What the kept steps add up to, by joined labels.
function inWindow(series) {
  const found = new Map();
  for (const step of state.points) {
    for (const [labels, counted] of series(step)) {
      const key = labels.join("\n");
      found.set(key, (found.get(key) ?? 0) + counted);
    }
  }
  return found;
}

const WHO = { caller: "the caller", app: "this pod's app", peer: "the other side", sidecar: "the sidecar", issuer: "the issuer" };

function refusals() {
  const { live } = state;
  const lately = inWindow((step) => step.refusals);
  const rows = ["inbound", "outbound"].flatMap((direction) =>
    live[direction].refusals.map(([[reason, route, enforced], total]) => ({
      direction, reason, route, enforced, total,
      recent: lately.get([direction, reason, route, enforced].join("\n")) ?? 0,
    })));
  rows.sort((a, b) => b.recent - a.recent || b.total - a.total || a.reason.localeCompare(b.reason));
  fill(byId("refusals"), rows.slice(0, 100).map((row) => {
    const facts = live.reasons[row.reason] ?? { title: "", status: "", fault: "" };
    return {
      key: [row.direction, row.reason, row.route, row.enforced].join(" "),
      cells: [
        {
          text: row.reason,
          below: `${facts.title} (${facts.status})${row.enforced === "false" ? "; only observed" : ""}`,
          title: `Who has to act: ${WHO[facts.fault] ?? facts.fault}. Show its decisions.`,
          act: () => decisions.only(row.reason),
        },
        { text: row.route, below: row.direction },
        count(row.recent),
        count(row.total),
      ],
    };
  }), [null, null, "n", "n"]);
}

function attributions() {
  const { live } = state;
  const lately = inWindow((step) => step.attributions);
  const rows = live.attributions.map(([labels, total]) => ({ labels, total, recent: lately.get(labels.join("\n")) ?? 0 }));
  rows.sort((a, b) => b.recent - a.recent || b.total - a.total);
  fill(byId("attributions"), rows.slice(0, 100).map(({ labels, total, recent: newly }) => ({
    key: labels.join(" "),
    cells: [labels[2], { text: labels[0] || "–", below: labels[1] }, count(newly), count(total)],
  })), [null, null, "n", "n"]);
  const { carrier, expectation, seen } = live.status.attribution;
  const told = seen.map((each) => `${each.name ? `${each.name} ${each.version} ${each.grade}` : "none"}: ${count(each.calls)}`);
  const expected = expectation ? `; a carrier is expected: ${expectation}` : "";
  say(byId("carriers"), `Carrier ${carrier}${expected}.${told.length ? ` Calls by carrier: ${told.join(", ")}.` : ""}`);
}

function routes() {
  const { live, earlier } = state;
  const before = earlier[0];
  const passed = before ? live.uptime_seconds - before.uptime_seconds : 0;
  const total = (route) => sum(Object.values(route.codes));
  const rows = ["inbound", "outbound"].flatMap((direction) => live[direction].routes.map((route) => {
    const past = before?.[direction].routes.find((each) => each.name === route.name);
    return {
      direction, route, total: total(route),
      perSecond: passed > 0 ? (total(route) - (past ? total(past) : 0)) / passed : null,
    };
  }));
  rows.sort((a, b) => a.direction.localeCompare(b.direction) || b.total - a.total);
  fill(byId("routes"), rows.map(({ direction, route, total: all, perSecond: speed }) => ({
    key: `${direction} ${route.name}`,
    cells: [
      route.name, direction, rate(speed),
      seconds(quantile(0.5, route.duration, live.duration_bounds)),
      seconds(quantile(0.99, route.duration, live.duration_bounds)),
      ...["2xx", "3xx", "4xx", "5xx"].map((kind) => (route.codes[kind] ? count(route.codes[kind]) : "–")),
      count(all),
    ],
  })), [null, null, ...Array(8).fill("n")]);
}

function cards(id, rows) {
  keyed(
    byId(id),
    rows,
    () => el("li"),
    (li, { parts }) => {
      const text = JSON.stringify(parts);
      if (li.dataset.text === text) return;
      li.dataset.text = text;
      li.replaceChildren(
        el("h3", {}, parts.name, " ", el("span", { class: `badge ${parts.kind}` }, parts.badge)),
        ...parts.lines.map((line) => el("p", { class: line.bad ? "bad" : "quiet" }, line.text)),
        ...(parts.table ? [el("ul", { class: "pairs" }, ...parts.table.map(([left, right]) => el("li", {}, el("span", { class: "code" }, left), el("span", { class: "n" }, right))))] : []),
      );
    },
  );
  byId(`${id}-empty`).hidden = rows.length > 0;
}

const STATES = { fresh: "good", loading: "warn", stale: "warn", blind: "bad" };

function issuers() {
  cards("issuers", state.live.status.issuers.map((issuer) => {
    const keys = issuer.keys_age_seconds === null ? "no keys" : `keys ${span(issuer.keys_age_seconds)} old`;
    const offset = issuer.clock_offset_seconds;
    const lines = [
      { text: issuer.issuer },
      { text: `${keys}, next refresh in ${span(issuer.next_refresh_seconds)}${offset ? `, its clock ${Math.abs(offset)} s ${offset > 0 ? "ahead" : "behind"}` : ""}` },
    ];
    if (issuer.last_error) lines.push({ text: issuer.last_error, bad: true });
    return {
      key: issuer.name,
      parts: {
        name: issuer.name, badge: issuer.state, kind: STATES[issuer.state] ?? "", lines,
        table: issuer.keys.map((key) => [
          key.kid ?? "(no kid)",
          key.last_used_seconds === null ? "not used yet" : `new token ${span(key.last_used_seconds)} ago`,
        ]),
      },
    };
  }));
}

function destinations() {
  cards("destinations", state.live.status.destinations.map((each) => ({
    key: each.name,
    parts: {
      name: each.name, badge: each.mode, kind: each.mode === "observe" ? "warn" : "",
      lines: [
        { text: `${each.listen} → ${each.upstream}` },
        { text: `token ${each.token}, at least ${each.min_assurance}` },
        ...(each.calls && !Object.keys(each.calls).length ? [{ text: "No calls yet." }] : []),
      ],
      table: Object.entries(each.calls ?? {}).sort((a, b) => b[1] - a[1]).map(([outcome, calls]) => [outcome, count(calls)]),
    },
  })));
}

function top() {
  const { status, time } = state.live;
  say(byId("version"), status.version);
  const [text, kind] = status.draining ? ["draining", "warn"] : status.ready ? ["ready", "good"] : ["not ready", "bad"];
  const badge = byId("state");
  say(badge, text);
  badge.className = `badge ${kind}`;
  const uptime = byId("uptime");
  say(uptime, `up ${span(status.uptime_seconds)}`);
  uptime.title = `since ${clock(time - status.uptime_seconds)} here, ${utc(time - status.uptime_seconds)}`;
  const missing = status.draining ? [] : status.missing;
  keyed(byId("missing"), missing.map((each) => ({ key: each, each })), ({ each }) => el("li", {}, each), () => {});
  byId("missing").hidden = !missing.length;
}

function show() {
  top();
  tiles();
  draw();
  refusals();
  attributions();
  routes();
  issuers();
  destinations();
}

// How old all that is. Told each second, because an old page looks like a calm one.
function age() {
  const told = byId("age");
  const passed = state.heardAt === null ? null : (performance.now() - state.heardAt) / 1000;
  const old = state.failure !== "" || (passed !== null && passed > OLD_SECONDS);
  document.body.classList.toggle("old", old);
  if (state.live) {
    say(told, `updated ${span(passed)} ago, at ${clock(state.live.time)}`);
    told.title = utc(state.live.time);
  }
  const shown = state.live ? `What is shown is of ${clock(state.live.time)}. ` : "";
  const notice = byId("notice");
  notice.hidden = !old;
  if (old) say(notice, `The sidecar does not answer${state.failure ? `: ${state.failure}` : ""}. ${shown}Trying again every two seconds.`);
}

setInterval(poll, EVERY_MS);
setInterval(() => { if (!document.hidden) age(); }, 1000);
document.addEventListener("visibilitychange", poll);
poll();
