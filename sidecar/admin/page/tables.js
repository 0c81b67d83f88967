// Elements and tables. Text only ever becomes a text node: paths, subjects and kids are chosen by
// callers and issuers.

export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

export const byId = (id) => document.getElementById(id);

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Make the children of parent those of rows, in order: each row has a key, and what had that key
// before is changed in place, so that neither focus nor selection is lost to an update.
export function keyed(parent, rows, make, change) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstElementChild;
  for (const row of rows) {
    let child = before.get(row.key);
    if (child) before.delete(row.key);
    else {
      child = make(row);
      child.dataset.key = row.key;
    }
    change(child, row);
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  for (const child of before.values()) child.remove();
}

// Rows of text cells: {key, cells}, a cell being a text or {text, title, class}.
export function fill(body, rows, classes = []) {
  keyed(
    body,
    rows,
    (row) => el("tr", {}, ...row.cells.map((_, i) => el("td", { class: classes[i] ?? null }))),
    (tr, row) => row.cells.forEach((cell, i) => setCell(tr.children[i], cell)),
  );
  const table = body.parentElement;
  table.hidden = !rows.length;
  const empty = byId(`${body.id}-empty`);
  if (empty) empty.hidden = rows.length > 0;
}

function setCell(td, cell) {
  if (typeof cell !== "object") return say(td, cell);
  if (cell.act) {
    let button = td.querySelector("button");
    if (!button) td.append((button = el("button", { type: "button", class: "plain" })), el("small"));
    button.onclick = cell.act;
    say(button, cell.text);
    say(td.querySelector("small"), cell.below ?? "");
    button.title = cell.title ?? "";
    return undefined;
  }
  if (cell.below !== undefined) {
    if (!td.firstElementChild) td.append(el("span"), el("small"));
    say(td.firstElementChild, cell.text);
    say(td.lastElementChild, cell.below);
  } else say(td, cell.text);
  td.title = cell.title ?? "";
  return undefined;
}
