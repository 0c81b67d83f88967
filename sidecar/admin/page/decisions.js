// The latest decisions, and one of them explained. The sidecar decides what is told; a version
// that does not keep decisions answers 404.

import { clock, seconds, utc } from "./figures.js";
import { byId, el, keyed, say } from "./tables.js";

const SHOWN = 50;
const ABSENT_MS = 60_000;
const MARKS = { ok: "✓", refused: "✕", observed: "!", skipped: "–", unknown: "?" };

export class Decisions {
  // get(target) gives {status, document}, or throws where nothing answers.
  constructor(get) {
    this.get = get;
    this.rows = [];
    this.reason = "";
    this.absentUntil = 0;
    this.list = byId("decisions");
    this.dialog = byId("decision");
    byId("only-refused").addEventListener("change", () => this.refresh());
    byId("filter").addEventListener("click", () => this.only(""));
    this.dialog.addEventListener("close", () => {
      if (location.hash) history.replaceState(null, "", location.pathname);
    });
    // A click beside it closes it, as Esc does.
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    window.addEventListener("hashchange", () => this.follow());
    this.follow();
  }

  // Show refusals for one reason; all decisions where it is empty.
  only(reason) {
    this.reason = reason;
    const filter = byId("filter");
    filter.hidden = !reason;
    say(filter, reason ? `${reason} ×` : "");
    filter.setAttribute("aria-label", reason ? `Show all reasons again, not only ${reason}` : "");
    if (reason) byId("only-refused").checked = true;
    this.refresh();
    if (reason) byId("decisions-title").scrollIntoView({ block: "start" });
  }

  async refresh() {
    if (performance.now() < this.absentUntil) return;
    const refused = byId("only-refused").checked ? "&refused=1" : "";
    let answer;
    try {
      answer = await this.get(`decisions?limit=${SHOWN}${refused}`);
    } catch {
      return; // the page says so already
    }
    if (answer.status === 404) {
      this.absentUntil = performance.now() + ABSENT_MS;
      this.rows = [];
      this.list.replaceChildren();
      this.explainEmpty("Decisions are not available in this version of the sidecar, or are switched off.");
      return;
    }
    if (answer.status !== 200 || !Array.isArray(answer.document?.decisions)) return;
    this.rows = answer.document.decisions;
    this.show();
  }

  show() {
    const rows = this.rows.filter((row) => !this.reason || row.reason === this.reason);
    keyed(this.list, rows.map((row) => ({ key: String(row.seq), row })), ({ row }) => line(row), () => {});
    const refused = byId("only-refused").checked;
    if (rows.length) this.explainEmpty("");
    else if (this.reason) this.explainEmpty(`None of the latest ${SHOWN} refusals was for ${this.reason}.`);
    else this.explainEmpty(refused ? "No refusals yet." : "No decisions yet: they appear with the first request.");
  }

  explainEmpty(text) {
    const empty = byId("decisions-empty");
    empty.hidden = !text;
    say(empty, text);
  }

  follow() {
    const found = /^#decision=(.+)$/.exec(location.hash);
    if (!found) return this.dialog.open ? this.dialog.close() : undefined;
    let id;
    try {
      id = decodeURIComponent(found[1]);
    } catch {
      return undefined;
    }
    return this.explain(id);
  }

  async explain(id) {
    const row = this.rows.find((each) => each.id === id);
    say(byId("decision-title"), row ? verdict(row) : "Decision");
    byId("decision-body").replaceChildren(...(row ? [facts(row)] : []), el("p", { class: "empty" }, "Loading the steps."));
    if (!this.dialog.open) this.dialog.showModal();
    let answer;
    try {
      answer = await this.get(`decisions/${encodeURIComponent(id)}`);
    } catch {
      answer = { status: 0 };
    }
    if (location.hash !== `#decision=${encodeURIComponent(id)}`) return;
    const body = byId("decision-body");
    if (answer.status === 200) {
      say(byId("decision-title"), verdict(answer.document));
      body.replaceChildren(...explained(answer.document));
    } else {
      const why = answer.status === 404
        ? "The sidecar keeps a limited number of decisions, and this one has made room for newer ones."
        : "The sidecar does not answer.";
      body.replaceChildren(...(row ? [facts(row)] : []), el("p", { class: "empty" }, why));
    }
  }
}

const epochOf = (time) => (typeof time === "number" ? time : Date.parse(time) / 1000);
const arrow = (row) => (row.direction === "outbound" ? "out" : "in");
const observed = (row) => row.reason !== "" && row.enforced === false;

function kind(row) {
  if (observed(row)) return "warn";
  return row.reason ? "bad" : "good";
}

function verdict(row) {
  if (observed(row)) return `Only observed: ${row.reason}`;
  return row.reason ? `Refused: ${row.reason}` : "Permitted";
}

function moment(time) {
  const epoch = epochOf(time);
  if (Number.isNaN(epoch)) return el("span", {}, String(time));
  return el("time", { datetime: new Date(epoch * 1000).toISOString(), title: utc(epoch) }, clock(epoch));
}

function line(row) {
  const what = row.reason || "permitted";
  const who = row.subject || (row.issuer ? "" : "anonymous");
  return el(
    "li",
    {},
    el(
      "a",
      { href: `#decision=${encodeURIComponent(row.id)}` },
      moment(row.time),
      el("span", { class: "way", title: row.direction }, arrow(row)),
      el("span", { class: `status ${kind(row)}` }, String(row.status)),
      el("span", { class: `reason ${kind(row)}` }, what),
      el("span", { class: "target" }, el("b", {}, row.method || "–"), ` ${row.path || ""}`),
      el("span", { class: "route" }, row.route || ""),
      el("span", { class: "who" }, who),
      el("span", { class: "n took" }, seconds(row.duration_ms / 1000)),
    ),
  );
}

function facts(row) {
  const list = el("dl", { class: "facts" });
  const add = (name, value, className = null) => {
    if (value === null || value === undefined || value === "") return;
    list.append(el("dt", {}, name), el("dd", { class: className }, value));
  };
  add("time", moment(row.time));
  add("request", `${row.method} ${row.path}`, "code");
  add("direction", row.direction);
  add(row.direction === "outbound" ? "destination" : "rule", row.route || row.destination);
  add("answer", String(row.status));
  add("detail", row.detail);
  add("issuer", row.issuer);
  add("subject", row.subject, "code");
  add("token (SHA-256, first digits)", row.token, "code");
  add("used by (act)", (row.actors ?? []).map((each) => each || "somebody without a name").join(", before it "), "code");
  add("transaction", row.transaction, "code");
  if (row.attached) add("attached", ["kind", "token", "audience", "subject", "actor"].map((name) => row.attached[name]).filter(Boolean).join(", "), "code");
  if (row.attribution) add("attribution", ["method", "grade", "outcome"].map((name) => row.attribution[name]).filter(Boolean).join(", "));
  add("took", `${seconds(row.duration_ms / 1000)}, of which the sidecar ${seconds(row.overhead_ms / 1000)}`);
  add("decision", row.id, "code");
  return list;
}

function explained(row) {
  const steps = (row.steps ?? []).map((step) => {
    const outcome = step.outcome in MARKS ? step.outcome : "unknown";
    const told = [];
    if (step.wanted) told.push(el("div", {}, el("span", { class: "quiet" }, "wanted "), text(step.wanted)));
    if (step.found) told.push(el("div", {}, el("span", { class: "quiet" }, "found "), text(step.found)));
    if (step.note) told.push(el("div", { class: "quiet" }, text(step.note)));
    return el("li", { class: outcome }, el("span", { class: "mark", title: outcome }, MARKS[outcome]), el("div", {}, el("b", {}, text(step.step)), el("span", { class: "unseen" }, ` ${outcome}`), ...told));
  });
  const advice = (row.advice ?? []).map((each) => el("li", {}, text(each)));
  return [
    facts(row),
    el("h3", {}, "Steps"),
    steps.length ? el("ol", { class: "steps" }, ...steps) : el("p", { class: "empty" }, "No steps were kept of it."),
    ...(advice.length ? [el("h3", {}, "What to do"), el("ul", { class: "advice" }, ...advice)] : []),
  ];
}

// What the sidecar says, which is text or a list or record of texts.
function text(value) {
  if (Array.isArray(value)) return value.map(text).join(", ");
  if (value && typeof value === "object") return Object.values(value).map(text).join(": ");
  return String(value);
}
