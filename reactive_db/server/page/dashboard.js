// The page about a server's stores: asks for an overview over the sync protocol, and again whenever the server says
// that something is different, at most twice a second. Messages are arrays that begin with their tag; see messages.py.

const VERSION = 1;
const PAUSE_MS = 500; // between two questions
const SETTLE_MS = 1000; // until what was still on its way is asked for again
const STORES_MS = 5000;
const SILENCE_MS = 10000; // an answer that takes longer makes the page stale
const BEHIND = 1000; // commits, from which on the columns are worth a look
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

const REFUSED = "This server does not let this browser in any more. Log in again, or open this page with the server's token.";

const $ = (id) => document.getElementById(id);
const here = new URL(".", location.href);

// --- elements -------------------------------------------------------------------------------------------------------

/** An element with attributes and children; text children are text, never HTML. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Have a place show these children, touching only those that differ: focus, selection and scrolling stay. */
function fill(place, children) {
  children.forEach((child, at) => {
    const old = place.childNodes[at];
    if (!old) place.append(child);
    else if (!old.isEqualNode(child)) morph(old, child);
  });
  while (place.childNodes.length > children.length) place.lastChild.remove();
}

function morph(old, made) {
  if (old.nodeType !== Node.ELEMENT_NODE || old.nodeName !== made.nodeName) {
    old.replaceWith(made);
    return;
  }
  for (const { name } of [...old.attributes]) if (!made.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of [...made.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  fill(old, [...made.childNodes]);
}

/** Of some elements, one is chosen; arrows, Home and End move the choice, and only the chosen one is a tab stop. */
function choice(place, onChoose, [back, on]) {
  const choose = (made) => made && (onChoose(made.dataset.key), [...place.children].find((one) => one.dataset.key === made.dataset.key)?.focus());
  place.addEventListener("click", ({ target }) => choose(target.closest("[data-key]")));
  place.addEventListener("keydown", (event) => {
    const all = [...place.children];
    const at = all.indexOf(document.activeElement);
    const to = { [back]: at - 1, [on]: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    choose(all[(to + all.length) % all.length]);
  });
}

const option = (key, isChosen, ...children) =>
  element("div", { role: "option", "data-key": key, "aria-selected": String(isChosen), tabindex: isChosen ? 0 : -1 }, ...children);

/** A table; rows are arrays of cells, each text or [class, ...children]. Rows with a key that was not there glow. */
function grid(place, caption, columns, rows, nothing) {
  if (rows.length === 0) {
    place.seen = place.seen && new Set();
    fill(place, [element("p", { class: "empty" }, nothing)]);
    return;
  }
  const seen = place.seen;
  place.seen = new Set(rows.map(({ key }) => key));
  // What is left of the width is for the column with long text, or for none: columns stay beside each other.
  const rest = columns.some(([, kind]) => kind === "long") ? [] : [["", "rest"]];
  const head = [...columns, ...rest].map(([name, kind]) => element(name ? "th" : "td", { scope: name && "col", class: kind || null }, name));
  const body = rows.map(({ key, cells }) =>
    element(
      "tr",
      { class: key !== undefined && seen && !seen.has(key) && "fresh", "data-key": key },
      ...cells.map((cell, at) => element("td", { class: columns[at][1] || null, title: columns[at][1] === "long" ? null : textOf(cell) }, ...[cell].flat())),
      ...rest.map(() => element("td", { class: "rest" })),
    ),
  );
  const made = [element("table", { "aria-label": caption }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body))];
  fill(place, made);
}

const textOf = (cell) => (typeof cell === "string" && cell.length > 30 ? cell : null);
const count = (number) => number.toLocaleString("en");
const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
const clock = (time) => new Date(time).toLocaleTimeString("en-GB");
const size = (bytes) => {
  const step = bytes < 1024 ? 0 : Math.min(3, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** step).toFixed(step && bytes / 1024 ** step < 10 ? 1 : 0)} ${["B", "KiB", "MiB", "GiB"][step]}`;
};
const duration = (ms) => {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [d, h, min] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  return d ? `${d} d ${h} h` : h ? `${h} h ${min} min` : min ? `${min} min` : `${seconds} s`;
};
const short = (source) => source.replace(/^__main__:/, "");

// --- what is known, and what of it is chosen ---------------------------------------------------------------------------

const TABS = [
  ["tables", "Tables"],
  ["sessions", "Sessions"],
  ["commits", "Commits"],
  ["functions", "Functions"],
  ["races", "Lost races"],
  ["errors", "Errors"],
];
const chosen = { store: null, tab: "tables", table: null };
let stores = [];
let shown = null; // the latest overview
let browsed = null; // the newest documents of the chosen table

function readAddress() {
  const named = new URLSearchParams(location.hash.slice(1));
  chosen.store = named.get("store");
  chosen.tab = TABS.some(([key]) => key === named.get("tab")) ? named.get("tab") : "tables";
  chosen.table = named.get("table");
}

function writeAddress() {
  const named = Object.entries(chosen).filter(([name, value]) => value && !(name === "tab" && value === "tables"));
  history.replaceState(null, "", `${location.pathname}#${new URLSearchParams(named)}`); // without a token
}

// --- drawing ---------------------------------------------------------------------------------------------------------

function drawStores() {
  const listed = stores.some(({ target }) => target === chosen.store) || !chosen.store
    ? stores
    : [...stores, { target: chosen.store, name: chosen.store, bytes: null, place: null }];
  const label = ({ target, name, bytes, place }) => {
    const made = option(target, target === chosen.store, name, element("small", {}, bytes == null ? "" : size(bytes)));
    if (place) made.title = place;
    return made;
  };
  fill($("stores"), listed.map(label));
  $("nothing").hidden = listed.length > 0 || link.state !== "live";
  $("store").hidden = shown === null;
}

function figures() {
  const now = shown.now + (performance.now() - shown.at);
  const status = { synced: "good", syncing: "warn", offline: "bad" }[shown.status];
  return [
    ["status", shown.status, status],
    ["timestamp", count(shown.ts)],
    ["SQL behind by", count(shown.lag), shown.lag > BEHIND ? "warn" : null],
    ["pending", count(shown.pending)],
    ["open for", duration(now - shown.since)],
  ];
}

function drawHeadline() {
  $("name").textContent = shown.name;
  const listed = stores.find(({ target }) => target === chosen.store);
  $("place").textContent = [shown.use?.place, listed?.bytes != null && size(listed.bytes)].filter(Boolean).join("  ·  ");
  fill($("figures"), figures().map(([name, value, state]) => element("div", {}, element("dt", {}, name), element("dd", { "data-state": state }, value))));
}

function drawTabs() {
  const { use } = shown;
  const counts = {
    tables: shown.tables.length,
    sessions: use?.sessions_total,
    commits: use?.commits_total,
    functions: use?.sources.length,
    races: use?.races_total,
    errors: use?.failures_total,
  };
  const there = TABS.filter(([key]) => counts[key] !== undefined);
  if (!there.some(([key]) => key === chosen.tab)) chosen.tab = "tables";
  const tab = ([key, title]) => {
    const isChosen = key === chosen.tab;
    const number = element("span", { class: key === "errors" && counts[key] ? "count bad" : "count" }, count(counts[key]));
    const attributes = { role: "tab", type: "button", id: `tab-${key}`, "data-key": key, "aria-selected": String(isChosen), "aria-controls": `panel-${key}`, tabindex: isChosen ? 0 : -1 };
    return element("button", attributes, element("span", { class: "title", "data-title": title }, title), number);
  };
  fill($("tabs"), there.map(tab));
  for (const [key] of TABS) $(`panel-${key}`).hidden = key !== chosen.tab;
}

function drawTables() {
  const { tables } = shown;
  if (!tables.some(({ name }) => name === chosen.table)) chosen.table = tables[0]?.name ?? null;
  const label = ({ name, documents }) => option(name, name === chosen.table, element("span", {}, name), element("small", {}, count(documents)));
  fill($("tables"), tables.length ? tables.map(label) : [element("p", { class: "empty" }, "No tables yet")]);
  const table = tables.find(({ name }) => name === chosen.table);
  if (!table) {
    fill($("table-head"), []);
    fill($("documents"), [element("p", { class: "empty" }, "A table is made when a function first uses its class.")]);
    return;
  }
  const fields = Object.entries(table.fields).map(([name, type]) => element("span", {}, name, element("i", {}, `: ${type}`)));
  const indexes = Object.entries(table.indexes).map(([name, parts]) => element("span", {}, name, element("i", {}, `(${parts.join(", ")})`)));
  const line = (name, parts) => (parts.length ? [element("dt", {}, name), element("dd", {}, ...parts)] : []);
  fill($("table-head"), [...line("Fields", fields), ...line("Indexes", indexes)]);
  if (browsed?.table === chosen.table) drawDocuments();
}

function drawDocuments() {
  const columns = browsed.columns.map(({ name, is_number }, at) => [name, is_number ? "number" : at ? "" : "time"]);
  const rows = browsed.rows.map((cells) => ({ key: cells[0], cells }));
  grid($("documents"), `Newest documents of ${browsed.table}`, columns, rows, "No documents yet");
}

const DEFINITIONS = "_tables";
const CHANGES = [["inserted", "+", "add"], ["changed", "~", "chg"], ["deleted", "−", "del"]];

function change({ table, ...counts }) {
  const parts = CHANGES.filter(([kind]) => counts[kind]).map(([kind, sign, style]) => element("span", { class: style, title: `${counts[kind]} ${kind}` }, `${sign}${count(counts[kind])} `));
  return element("span", { class: "each" }, element("span", { class: "on" }, table === DEFINITIONS ? "definitions" : table), ...(parts.length ? parts : [table === DEFINITIONS ? "" : "as a whole"]));
}

function waiting({ is_you, requests, documents, frames }) {
  if (is_you) return "—"; // its own question, at least
  const parts = [[requests, "request"], [documents, "document"], [frames, "frame"]];
  return parts.filter(([number]) => number).map(([number, word]) => plural(number, word)).join(", ") || "nothing";
}

const DRAWN = {
  sessions: ({ sessions }) =>
    grid($("sessions"), "Sessions", [["user", ""], ["from", ""], ["since", "time"], ["ranges watched", "number"], ["tables watched", "number"], ["waits", "quiet"]],
      sessions.map((one) => ({
        key: `${one.user} ${one.place} ${one.since}`,
        cells: [one.is_you ? [one.user, element("span", { class: "you" }, "this page")] : one.user, one.place, clock(one.since), count(one.ranges), count(one.tables), waiting(one)],
      })), "Nobody is connected"),
  commits: ({ commits }) =>
    grid($("commits"), "Recent commits", [["ts", "number"], ["time", "time"], ["function", "code"], ["user", ""], ["what changed", "code"]],
      commits.map((one) => ({ key: one.ts, cells: [count(one.ts), clock(one.time), short(one.source), one.user || "—", one.changes.map(change)] })),
      "No commit since the server opened the store"),
  functions: ({ sources }) =>
    grid($("functions"), "Functions", [["function", "code"], ["commits", "number"], ["races lost", "number"], ["last", "time"]],
      sources.map((one) => ({ key: one.name, cells: [short(one.name), count(one.commits), count(one.races_lost), clock(one.last)] })),
      "No function has committed since the server opened the store"),
  races: ({ races }) =>
    grid($("races"), "Lost races", [["lost by", "code"], ["read at ts", "number"], ["where", "code"], ["won by", "code"], ["with ts", "number"]],
      races.map((one) => ({ key: `${one.source} ${one.begin_ts} ${one.winner_ts}`, cells: [short(one.source), count(one.begin_ts), `${one.table}.${one.index}`, short(one.winner), count(one.winner_ts)] })),
      "No race was lost. When two functions meet in the same place, the second runs again"),
  errors: ({ failures }) =>
    grid($("errors"), "Errors", [["time", "time"], ["user", ""], ["request", "code"], ["error", "code"], ["message", "long"]],
      failures.map((one) => ({ key: `${one.time} ${one.kind}`, cells: [clock(one.time), one.user, one.kind, [element("span", { class: "bad" }, one.code)], one.message] })),
      "No request has failed"),
};

function draw() {
  drawStores();
  if (!shown) return;
  drawHeadline();
  drawTabs();
  drawTables();
  if (shown.use) for (const part of Object.values(DRAWN)) part(shown.use);
  writeAddress();
}

// --- the connection --------------------------------------------------------------------------------------------------

const link = {
  socket: null,
  state: "connecting",
  tries: 0,
  request: 0,
  asked: 0, // when a question went out that has no answer yet
  answered: 0,
  isMoved: false,
  timer: 0,
  retry: 0,
};

function say(state, word) {
  link.state = state;
  $("link").dataset.state = state;
  document.querySelector("#link .word").textContent = word;
  document.body.toggleAttribute("data-stale", state === "offline" || state === "stale");
}

const sendMessage = (...message) => link.socket?.readyState === WebSocket.OPEN && link.socket.send(JSON.stringify(message));
const session = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** Ask now, or as soon as the pause since the last question is over. */
function ask(after = 0) {
  if (link.timer || link.asked) {
    link.isMoved ||= !after;
    return;
  }
  const pause = Math.max(after, link.answered + PAUSE_MS - performance.now(), 0);
  link.timer = setTimeout(() => {
    link.timer = 0;
    link.isMoved = false;
    link.asked = performance.now();
    browse();
    sendMessage("overview", ++link.request);
  }, pause);
}

function browse() {
  if (!chosen.table || chosen.tab !== "tables") return;
  link.browsing = { request: ++link.request, table: chosen.table };
  sendMessage("browse", link.browsing.request, chosen.table);
}

const HEARD = {
  welcome() {
    link.tries = 0;
    ask();
  },
  overviewis(request, store) {
    shown = { ...store, at: performance.now() };
    link.asked = 0;
    link.answered = performance.now();
    say("live", "live");
    const before = chosen.table;
    draw();
    if (chosen.table !== before) browse();
    if (link.isMoved) ask();
    else if (shown.lag || shown.pending) ask(SETTLE_MS);
  },
  browsed(request, ts, columns, rows) {
    if (request !== link.browsing?.request) return;
    if (browsed?.table !== link.browsing.table) $("documents").seen = undefined;
    browsed = { table: link.browsing.table, ts, columns, rows };
    drawDocuments();
  },
  moved: () => ask(),
  failed(request, code, message) {
    if (request === link.browsing?.request) return; // its table is gone; the overview says so
    fault(message);
  },
};

function fault(message) {
  $("notice").textContent = message;
  $("notice").hidden = !message;
}

/** Open a connection to the chosen store, in place of any other. */
function connect() {
  disconnect();
  if (!chosen.store) return;
  const address = new URL("sync", here);
  address.protocol = address.protocol.replace("http", "ws");
  address.search = new URLSearchParams({ store: chosen.store, format: "json" });
  const socket = (link.socket = new WebSocket(address));
  let isGreeted = false;
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (Array.isArray(message)) {
      HEARD[message[0]]?.(...message.slice(1));
    } else if (!isGreeted) {
      isGreeted = true;
      fault("");
      if (message.nonce) location.reload(); // nobody knows us any more: the server sends us to its login
      else sendMessage("hello", VERSION, session(), "the dashboard");
    }
  };
  socket.onclose = () => socket === link.socket && lost();
}

function disconnect() {
  clearTimeout(link.timer);
  clearTimeout(link.retry);
  const { socket } = link;
  Object.assign(link, { socket: null, timer: 0, retry: 0, asked: 0, answered: 0, isMoved: false });
  socket?.close();
}

/** Say that nothing is known any more, and try again after a pause that grows. */
function lost() {
  disconnect();
  const pause = RETRY_MS[Math.min(link.tries++, RETRY_MS.length - 1)] * (0.75 + Math.random() / 2);
  const last = shown ? `, as of ${clock(shown.now)}` : "";
  say("offline", `offline${last}; trying again`);
  link.retry = setTimeout(begin, pause);
}

/** Find out which stores there are, and connect to one. */
async function begin() {
  if (!(await list())) return lost();
  if (chosen.store) connect();
  return undefined;
}

async function list() {
  try {
    const answer = await fetch(new URL("stores", here), { cache: "no-store", credentials: "same-origin" });
    if (answer.redirected) location.reload(); // to the login
    if (answer.status === 403) fault(REFUSED);
    if (!answer.ok) return false;
    stores = await answer.json();
  } catch {
    return false;
  }
  if (!chosen.store && stores.length) chosen.store = stores[0].target;
  if (!chosen.store) say("live", "live");
  drawStores();
  if (shown) drawHeadline();
  return true;
}

// --- what people do --------------------------------------------------------------------------------------------------

choice($("stores"), (target) => {
  if (target === chosen.store) return;
  Object.assign(chosen, { store: target, table: null });
  shown = browsed = null;
  for (const { id } of document.querySelectorAll(".scroll")) $(id).seen = undefined;
  say("connecting", "connecting");
  writeAddress();
  drawStores();
  connect();
}, ["ArrowLeft", "ArrowRight"]);

choice($("tabs"), (key) => {
  chosen.tab = key;
  draw();
  browse();
}, ["ArrowLeft", "ArrowRight"]);

choice($("tables"), (name) => {
  if (name === chosen.table) return;
  chosen.table = name;
  fill($("documents"), []);
  draw();
  browse();
}, ["ArrowUp", "ArrowDown"]);

setInterval(() => {
  if (document.hidden) return;
  if (shown && link.state === "live") drawHeadline(); // "open for" goes on by itself
  if (link.asked && performance.now() - link.asked > SILENCE_MS) say("stale", `stale, as of ${clock(shown?.now ?? Date.now())}`);
}, 1000);
setInterval(async () => {
  if (document.hidden || link.retry) return;
  const isNew = !chosen.store;
  if ((await list()) && isNew && chosen.store) connect();
}, STORES_MS);
addEventListener("hashchange", () => {
  const { store } = chosen;
  readAddress();
  if (chosen.store !== store) connect();
  else draw();
});
document.addEventListener("visibilitychange", () => !document.hidden && link.retry && begin());

readAddress();
writeAddress();
begin();
