"use strict";

/* What is decided is a list of steps, { row, label }, oldest first; a label of null drops the
   picture. Everything shown follows from it, and undo takes the last one away. */
const told = JSON.parse(document.getElementById("told").textContent);
const byId = (id) => document.getElementById(id);
const cards = new Map(); // of a row in the table, in the order of suspicion
let steps = remembered();

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(told.key)) ?? [];
  } catch {
    return [];
  }
}

function remember() {
  try {
    localStorage.setItem(told.key, JSON.stringify(steps));
  } catch {
    // The page works without; then closing it forgets what was not saved.
  }
}

function decisions() {
  return new Map(steps.map(({ row, label }) => [row, label]));
}

function build(suspect) {
  const card = byId("card").content.firstElementChild.cloneNode(true);
  const find = (selector) => card.querySelector(selector);
  show(find(".photo"), suspect.photo, suspect.file);
  show(find(".seen"), suspect.seen, suspect.seen && `bright: what speaks for ${told.shown[suspect.suggested]}`);
  show(find(".like"), suspect.like?.photo, suspect.like?.caption);
  if (suspect.photo) find(".photo img").alt = `${suspect.file}, labelled ${suspect.label}`;
  find("h2").textContent = `Is this ${suspect.label}?`;
  find(".why").textContent = suspect.why;
  for (const [name, share] of suspect.guesses) {
    const guess = byId("guess").content.firstElementChild.cloneNode(true);
    guess.querySelector(".name").textContent = name;
    guess.querySelector(".share").textContent = `${Math.round(share * 100)} %`;
    guess.querySelector(".track span").style.width = `${share * 100}%`;
    find(".guesses").append(guess);
  }
  const says = (button, words, key) => {
    const kbd = document.createElement("kbd");
    kbd.textContent = key;
    find(button).replaceChildren(`${words} `, kbd);
  };
  says(".accept", `It is ${told.shown[suspect.suggested]}`, "A");
  says(".keep", `Keep ${suspect.label}`, "K");
  find(".accept").hidden = suspect.suggested === suspect.own;
  const options = ["", ...told.shown].map((name, at) => new Option(name || "…", at ? at - 1 : ""));
  find("select").append(...options);
  find("select").addEventListener("change", (event) => {
    if (event.target.value !== "") decide(suspect.row, told.classes[event.target.value]);
  });
  for (const key of ["accept", "keep", "drop"]) {
    find(`.${key}`).addEventListener("click", () => act(suspect, key));
  }
  cards.set(suspect.row, card);
  byId("cards").append(card);
}

function show(figure, photo, caption) {
  figure.hidden = !photo && !caption;
  if (photo) figure.querySelector("img").src = photo;
  else figure.querySelector("img").remove();
  if (caption) figure.querySelector("figcaption").textContent = caption;
}

function act(suspect, key) {
  if (key === "accept" && suspect.suggested === suspect.own) return;
  const at = { accept: suspect.suggested, keep: suspect.own }[key];
  decide(suspect.row, key === "drop" ? null : told.classes[at]);
}

function decide(row, label) {
  steps.push({ row, label });
  changed();
  const rows = [...cards.keys()];
  const done = decisions();
  const after = [...rows.slice(rows.indexOf(row)), ...rows].find((one) => !done.has(one));
  go(after ?? row);
}

function undo() {
  const last = steps.pop();
  if (!last) return;
  changed();
  go(last.row);
}

function go(row) {
  const card = cards.get(row);
  const header = document.querySelector("header").offsetHeight;
  document.documentElement.style.scrollPaddingTop = `${header + 12}px`; // which covers the top
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "start" });
}

function changed(saved = "") {
  remember();
  const done = decisions();
  const count = { changed: 0, kept: 0, dropped: 0 };
  for (const suspect of told.suspects) {
    const card = cards.get(suspect.row);
    const find = (selector) => card.querySelector(selector);
    const known = done.has(suspect.row);
    const at = known ? told.classes.indexOf(done.get(suspect.row)) : -1;
    const dropped = known && done.get(suspect.row) === null;
    const kept = known && at === suspect.own;
    if (known) count[dropped ? "dropped" : kept ? "kept" : "changed"] += 1;
    card.classList.toggle("done", known);
    const words = dropped ? "Dropped." : kept ? `Kept: ${suspect.label}.` : `Now ${told.shown[at]}.`;
    find(".decided").textContent = known ? words : "";
    find("select").value = known && !dropped && !kept && at !== suspect.suggested ? at : "";
    const accepted = known && !kept && at === suspect.suggested;
    for (const [key, is] of Object.entries({ accept: accepted, keep: kept, drop: dropped })) {
      find(`.${key}`).setAttribute("aria-pressed", is);
    }
  }
  const parts = Object.entries(count).filter(([, n]) => n).map(([what, n]) => `${n} ${what}`);
  const looked = `${done.size} of ${cards.size} looked at${parts.length ? `: ${parts.join(", ")}` : ""}.`;
  byId("status").textContent = cards.size ? `${looked} ${saved}` : "No label is suspected.";
  byId("undo").disabled = !steps.length;
}

/* The table as paddy train reads it. A byte of a file's name that is no UTF-8 stands as a lone half
   of a surrogate pair, as Python has it, and is written as that byte. */
function table() {
  const done = decisions();
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const label = told.header.indexOf("label");
  const lines = [told.header.map(quoted).join(",")];
  told.rows.forEach((values, row) => {
    if (done.get(row) === null) return;
    const mended = values.with(label, done.get(row) ?? values[label]);
    lines.push(mended.map(quoted).join(","));
  });
  const encoder = new TextEncoder();
  const parts = `${lines.join("\n")}\n`.split(/([\udc80-\udcff])/u).map((part) => {
    const code = part.charCodeAt(0);
    return part.length === 1 && code >= 0xdc80 && code <= 0xdcff ? Uint8Array.of(code - 0xdc00) : encoder.encode(part);
  });
  return new Blob(parts, { type: "text/csv" });
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(table());
  link.download = told.saved;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  byId("after").hidden = false;
  changed(`Saved ${told.saved}.`);
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const key = event.key.toLowerCase();
  const card = document.activeElement.closest?.(".card");
  const rows = [...cards.keys()];
  const at = rows.findIndex((row) => cards.get(row) === card);
  const way = { arrowdown: 1, arrowup: -1 }[key];
  const action = { a: "accept", k: "keep", d: "drop" }[key];
  if (key === "u") undo();
  else if (key === "s") save();
  else if (way && rows.length) go(rows[Math.min(Math.max(at + way, 0), rows.length - 1)]);
  else if (action && card) act(told.suspects[at], action);
  else return;
  event.preventDefault();
}

told.suspects.forEach(build);
byId("command").textContent = told.command;
byId("undo").addEventListener("click", undo);
byId("save").addEventListener("click", save);
document.addEventListener("keydown", pressed);
changed();
const first = told.suspects.find(({ row }) => !decisions().has(row)) ?? told.suspects[0];
if (first) cards.get(first.row).focus({ preventScroll: true });
