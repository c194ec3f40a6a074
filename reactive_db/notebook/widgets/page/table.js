// `Table`: a grid that scrolls over all rows and draws those around what can be seen; the kernel has the others.
//
// Scrolling itself runs no code of ours but the question for other rows: each row stands where it belongs in a body as
// high as all of them. Rows have numbers from the kernel, by which they keep their place on the page when they change.
const HEAD = -1; // the rank of the header, above the first row
const ASK_MS_MIN = 50;
const FILTER_MS = 150;
const SUPPRESS = "data-lm-suppress-shortcuts";
const NOTHING = "—";

const FILTERS = {
  text: "Rows that contain this text",
  number: "5, > 5, <= 3 or 1..9",
  check: "true or false",
};

const counted = (number) => number.toLocaleString("en-US");
const textOf = (cell) => (Array.isArray(cell) ? cell[0] : cell);
const exactOf = (cell) => (Array.isArray(cell) ? cell[1] : cell);

class TableView {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.name = Math.random().toString(36).slice(2, 10);
    this.shared = {};
    this.columns = [];
    this.start = 0;
    this.numbers = [];
    this.rows = new Map(); // what the kernel told of each row in the window: [number, is selected, ...cells]
    this.lines = new Map(); // the element of each row that is drawn
    this.asked = { start: 0, size: 0, top: 0 };
    this.said = "";
    this.active = { rank: HEAD, column: 0, number: null };
    this.pending = new Map(); // what was entered, until the kernel says how that went
    this.filtering = new Map(); // what was typed into a filter and not sent yet
    this.editing = null;
    this.fault = null;
    this.edits = 0;
    this.rowHeight = 28;
    this.build();
    this.listen();
  }

  build() {
    this.title = element("b");
    this.count = element("small", { "aria-live": "off" });
    this.alert = element("div", { role: "alert", hidden: true });
    this.heads = element("div", { class: "row", role: "row", "aria-rowindex": 1 });
    this.filters = element("div", { class: "row filters", role: "row", "aria-rowindex": 2 });
    this.body = element("div", { class: "body", role: "rowgroup", tabindex: -1 });
    this.over = element("div", { class: "over" });
    this.head = element("div", { class: "head", role: "rowgroup" }, this.heads, this.filters);
    this.grid = element("div", { role: "grid", "aria-multiselectable": "true" }, this.head, this.body);
    this.empty = element("div", { class: "empty", hidden: true });
    this.sheet = element("div", { class: "sheet" }, this.grid, this.empty, this.over);
    this.scroller = element("div", { class: "scroll" }, this.sheet);
    this.el.classList.add("reactive-db-widget", "rdb-table");
    this.el.append(element("div", { class: "caption" }, this.title, this.count), this.alert, this.scroller);
  }

  listen() {
    this.scroller.addEventListener("scroll", () => this.ask(), { passive: true });
    this.grid.addEventListener("keydown", (event) => this.onKey(event));
    this.grid.addEventListener("mousedown", (event) => this.onMouseDown(event));
    this.grid.addEventListener("click", (event) => this.onClick(event));
    this.grid.addEventListener("dblclick", (event) => this.onDoubleClick(event));
    this.body.addEventListener("animationend", (event) => event.target.classList.remove("fresh"));
    // A view that was forgotten because there are too many is known again once somebody turns to it.
    for (const kind of ["pointerenter", "focusin"]) this.el.addEventListener(kind, () => this.askAgain());
    this.observer = new ResizeObserver(() => this.onResize());
    this.observer.observe(this.el);
    this.guard = (event) => this.guardKey(event);
    window.addEventListener("keydown", this.guard, true);
  }

  close() {
    this.model.send({ type: "leave", view: this.name });
    this.observer.disconnect();
    clearTimeout(this.asking);
    for (const timer of this.filtering.values()) clearTimeout(timer);
    window.removeEventListener("keydown", this.guard, true);
  }

  // --- what the kernel says ------------------------------------------------------------------------------------------

  draw({ first, views, ...shared }) {
    const window = views[this.name] ?? first;
    this.start = window.start;
    this.numbers = window.rows.map(([number]) => number);
    this.rows = new Map(window.rows.map((row) => [row[0], row]));
    this.share(shared);
    this.render();
    this.askAgain();
  }

  change({ views = {}, type: _, number: __, ...shared }) {
    const fresh = this.take(views[this.name] ?? {});
    const isRearranged = "sort" in shared || "filters" in shared;
    this.share(shared);
    if (isRearranged) this.rewind();
    this.render();
    if (!isRearranged) for (const line of fresh.map((number) => this.lines.get(number))) light(line);
    this.ask();
  }

  /** Take a difference of the window; the numbers of the rows that are new or different. */
  take({ start = this.start, order, rows = [], moved = 0, asked = false }) {
    const before = this.rows;
    const told = new Map(rows.map((row) => [row[0], row]));
    this.start = start;
    if (order) this.numbers = order;
    this.rows = new Map(this.numbers.map((number) => [number, told.get(number) ?? before.get(number)]));
    if (moved) this.moveBy(moved);
    const isFresh = (row) => (before.has(row[0]) ? isOther(before.get(row[0]), row) : !asked);
    return rows.filter(isFresh).map(([number]) => number);
  }

  share(shared) {
    Object.assign(this.shared, shared);
    const { title, height, total, found, reachable, selected, error, is_editable } = this.shared;
    if ("columns" in shared) this.setColumns(shared.columns);
    this.title.textContent = this.title.title = title;
    this.grid.setAttribute("aria-label", title);
    this.grid.setAttribute("aria-rowcount", reachable + 2);
    this.grid.setAttribute("aria-readonly", String(!is_editable));
    this.scroller.style.maxHeight = `${height}px`;
    const parts = [found < total ? `${counted(found)} of ${counted(total)} rows` : rowsOf(total)];
    if (found > reachable) parts.push(`the first ${counted(reachable)} can be scrolled to; filter to see others`);
    if (selected) parts.push(`${counted(selected)} selected`);
    this.count.textContent = parts.join(" · ");
    this.count.ariaLive = this.filters.contains(this.focused()) ? "polite" : "off";
    this.alert.textContent = error ?? "";
    this.alert.hidden = error == null;
    this.empty.textContent = total ? "No rows match" : "No rows";
    this.empty.hidden = found > 0;
    if ("sort" in shared) this.markSort();
    if ("filters" in shared || "faults" in shared || "columns" in shared) this.markFilters();
  }

  hear(message) {
    if (message.type !== "edited" || !this.pending.has(message.edit)) return;
    const edit = this.pending.get(message.edit);
    this.pending.delete(message.edit);
    this.redraw(edit.number);
    if (message.error != null) this.showFault(edit, message.error);
  }

  // --- columns -------------------------------------------------------------------------------------------------------

  setColumns(columns) {
    this.columns = columns;
    this.el.style.setProperty("--columns", columns.map(({ width }) => `calc(${width}ch + 1.6em)`).join(" "));
    this.grid.setAttribute("aria-colcount", columns.length);
    this.heads.replaceChildren(...columns.map((column, at) => this.makeHead(column, at)));
    this.filters.replaceChildren(...columns.map((column, at) => this.makeFilter(column, at)));
    for (const line of this.lines.values()) line.remove();
    this.lines.clear();
    this.active.column = Math.max(0, Math.min(this.active.column, columns.length - 1));
    this.markSort();
  }

  makeHead({ name, kind }, at) {
    const mark = element("span", { class: "mark", "aria-hidden": "true" });
    const label = element("span", { class: "name" }, name);
    return element(
      "div",
      { role: "columnheader", class: kind, tabindex: -1, "aria-colindex": at + 1, title: `${name}: click to sort` },
      label,
      mark,
    );
  }

  makeFilter({ name, kind }, at) {
    const hint = element("small", { id: `rdb-${this.name}-${at}`, role: "alert", hidden: true });
    const input = element("input", {
      "aria-label": `Filter ${name}`,
      "aria-describedby": hint.id,
      placeholder: "filter",
      title: FILTERS[kind],
      spellcheck: "false",
      autocomplete: "off",
      oninput: () => this.filterSoon(name, input),
      onfocus: () => this.scrollToColumn(at),
    });
    return element("div", { role: "gridcell", class: kind, "aria-colindex": at + 1 }, input, hint);
  }

  markSort() {
    const [by, direction] = this.shared.sort ?? [];
    this.columns.forEach(({ name }, at) => {
      const head = this.heads.children[at];
      head.setAttribute("aria-sort", name === by ? direction : "none");
      head.querySelector(".mark").textContent = name === by ? (direction === "ascending" ? "▲" : "▼") : "";
    });
  }

  markFilters() {
    this.columns.forEach(({ name }, at) => {
      const [input, hint] = this.filters.children[at].children;
      if (input !== this.focused()) input.value = this.shared.filters[name] ?? "";
      const fault = this.shared.faults[name];
      input.setAttribute("aria-invalid", String(fault != null));
      hint.textContent = fault ?? "";
      hint.hidden = fault == null;
      if (fault == null) return;
      const room = this.sheet.clientWidth;
      hint.style.maxWidth = `${room}px`;
      hint.style.left = `${Math.min(0, room - this.filters.children[at].offsetLeft - hint.offsetWidth)}px`;
    });
  }

  sort(at) {
    const { name } = this.columns[at];
    const [by, direction] = this.shared.sort ?? [];
    const next = name !== by ? "ascending" : direction === "ascending" ? "descending" : null;
    this.shared.sort = next && [name, next]; // at once: who presses twice means the one after this
    this.markSort();
    this.model.send({ type: "sort", column: name, direction: next });
  }

  filterSoon(column, input) {
    clearTimeout(this.filtering.get(column));
    const send = () => this.model.send({ type: "filter", column, text: input.value });
    this.filtering.set(column, setTimeout(send, FILTER_MS));
  }

  // --- rows ----------------------------------------------------------------------------------------------------------

  render() {
    const wasFocused = this.body.contains(this.focused());
    this.body.style.height = `${Math.max(this.shared.reachable, 1) * this.rowHeight}px`;
    for (const [number, line] of this.lines) {
      if (!this.rows.has(number)) {
        line.remove();
        this.lines.delete(number);
      }
    }
    let next = this.body.firstChild;
    this.numbers.forEach((number, index) => {
      const line = this.lines.get(number) ?? this.makeLine(number);
      this.drawLine(line, this.rows.get(number));
      placeLine(line, this.start + index);
      if (line === next) next = next.nextSibling;
      else this.body.insertBefore(line, next);
    });
    this.followActive();
    if (wasFocused) this.focusActive();
    if (this.editing) this.place(this.editing);
    if (this.fault) this.place(this.fault);
  }

  makeLine(number) {
    const cells = this.columns.map((column, at) =>
      element("div", { role: "gridcell", class: column.kind, tabindex: -1, "aria-colindex": at + 1 }),
    );
    const line = element("div", { class: "row", role: "row" }, ...cells);
    line.number = number;
    this.lines.set(number, line);
    return line;
  }

  drawLine(line, row) {
    if (line.drawn === row) return;
    line.drawn = row;
    line.setAttribute("aria-selected", String(row[1] === 1));
    this.columns.forEach((column, at) => this.drawCell(line.children[at], column, row[0], row[at + 2]));
  }

  drawCell(node, column, number, told) {
    // By name: a change of another column's width makes all columns anew.
    const isHere = (one) => one.number === number && one.column.name === column.name;
    const edit = [...this.pending.values()].findLast(isHere);
    const cell = edit ? edit.shown : told;
    const text = textOf(cell);
    node.classList.toggle("pending", edit != null);
    node.classList.toggle("nothing", cell === null);
    node.setAttribute("aria-busy", String(edit != null));
    if (typeof cell === "boolean") node.replaceChildren(box(cell));
    else node.textContent = text ?? NOTHING;
    if (text?.length > column.width || Array.isArray(cell)) node.title = exactOf(cell) ?? text;
    else node.removeAttribute("title");
    if (this.shared.is_editable) node.setAttribute("aria-readonly", String(!column.editor));
  }

  redraw(number) {
    const line = this.lines.get(number);
    if (!line) return;
    line.drawn = null;
    this.drawLine(line, this.rows.get(number));
  }

  // --- the window ----------------------------------------------------------------------------------------------------

  onResize() {
    if (!this.scroller.clientHeight) return;
    const height = Math.round(parseFloat(getComputedStyle(this.el).fontSize) * 2.15);
    this.el.style.setProperty("--row", `${height}px`);
    if (height !== this.rowHeight) {
      this.rowHeight = height;
      this.render();
    }
    this.ask();
  }

  /** Ask for the rows around what can be seen, if they are not those that were asked for; not too often. */
  ask() {
    this.asking ??= setTimeout(() => {
      this.asking = undefined;
      this.askNow();
    }, ASK_MS_MIN);
  }

  askAgain() {
    this.said = "";
    this.ask();
  }

  askNow() {
    const top = Math.floor(this.scroller.scrollTop / this.rowHeight);
    const visible = this.visibleRows() + 1;
    const { start, size } = this.asked;
    const isShort = (top - visible / 2 < start && start > 0) || top + visible * 1.5 > start + size;
    if (isShort || size > visible * 4) {
      this.asked.start = Math.max(0, top - visible);
      this.asked.size = visible * 3;
    }
    this.asked.top = top;
    const said = JSON.stringify(this.asked);
    if (said === this.said) return;
    this.said = said;
    this.model.send({ type: "window", view: this.name, ...this.asked });
  }

  visibleRows() {
    return Math.max(1, Math.ceil((this.scroller.clientHeight - this.head.offsetHeight) / this.rowHeight));
  }

  /** Rows have come or gone above: what can be seen stays where it is. */
  moveBy(moved) {
    this.asked.start += moved;
    this.asked.top += moved;
    this.said = JSON.stringify(this.asked);
    if (this.active.rank !== HEAD) this.active.rank += moved;
    // The body first: it cannot be scrolled further than it is high.
    this.body.style.height = `${Math.max(this.shared.reachable + Math.max(moved, 0), 1) * this.rowHeight}px`;
    this.scroller.scrollTop += moved * this.rowHeight;
  }

  rewind() {
    this.asked.start = this.asked.top = 0;
    this.said = "";
    this.scroller.scrollTop = 0;
    if (this.active.rank !== HEAD) this.active.rank = 0;
    this.active.number = null;
  }

  // --- focus ---------------------------------------------------------------------------------------------------------

  focused() {
    return this.el.getRootNode().activeElement;
  }

  /** The element of the cell that the keyboard is on; null if it is not drawn. */
  activeCell() {
    const { rank, column } = this.active;
    if (rank === HEAD) return this.heads.children[column] ?? null;
    return this.lines.get(this.numbers[rank - this.start])?.children[column] ?? null;
  }

  /** The keyboard stays on its row, wherever that goes. */
  followActive() {
    const index = this.active.number === null ? -1 : this.numbers.indexOf(this.active.number);
    if (index >= 0) this.active.rank = this.start + index;
    this.active.rank = Math.min(this.active.rank, this.shared.reachable - 1);
    this.markActive();
  }

  markActive() {
    const cell = this.activeCell();
    if (this.tabbable !== cell) this.tabbable?.setAttribute("tabindex", -1);
    this.tabbable = cell;
    cell?.setAttribute("tabindex", 0);
    this.body.setAttribute("tabindex", cell ? -1 : 0);
    const { rank } = this.active;
    if (rank !== HEAD) this.active.number = this.numbers[rank - this.start] ?? null;
  }

  focusActive() {
    (this.activeCell() ?? this.body).focus({ preventScroll: true });
  }

  moveTo(rank, column) {
    this.active.rank = Math.max(HEAD, Math.min(rank, this.shared.reachable - 1));
    this.active.column = Math.max(0, Math.min(column, this.columns.length - 1));
    this.active.number = null;
    this.scrollToActive();
    this.markActive();
    this.focusActive();
  }

  scrollToActive() {
    const { rank, column } = this.active;
    if (rank !== HEAD) {
      const room = this.scroller.clientHeight - this.head.offsetHeight;
      const top = rank * this.rowHeight;
      const lowest = top + this.rowHeight - room;
      const { scrollTop } = this.scroller;
      if (top < scrollTop) this.scroller.scrollTop = top;
      else if (lowest > scrollTop) this.scroller.scrollTop = lowest;
    }
    this.scrollToColumn(column);
  }

  scrollToColumn(at) {
    const head = this.heads.children[at];
    if (!head) return;
    const right = head.offsetLeft + head.offsetWidth - this.scroller.clientWidth;
    if (head.offsetLeft < this.scroller.scrollLeft) this.scroller.scrollLeft = head.offsetLeft;
    else if (right > this.scroller.scrollLeft) this.scroller.scrollLeft = right;
  }

  // --- keys and mouse ------------------------------------------------------------------------------------------------

  /** JupyterLab hears keys first: those that mean something here are kept from it, others (Ctrl+S, Shift+Enter) not. */
  guardKey(event) {
    if (!this.el.contains(event.composedPath()[0])) return;
    const { key } = event;
    const hasCommand = event.ctrlKey || event.metaKey || event.altKey;
    const isOurs = hasCommand ? ["a", "Home", "End"].includes(key) : !(event.shiftKey && key === "Enter");
    this.el.toggleAttribute(SUPPRESS, isOurs);
  }

  onKey(event) {
    if (this.filters.contains(event.target) || event.altKey) return;
    const handled = event.ctrlKey || event.metaKey ? this.onCommandKey(event) : this.onPlainKey(event);
    if (handled) event.preventDefault();
  }

  onCommandKey({ key }) {
    const { column } = this.active;
    if (key === "a") this.select("all");
    else if (key === "Home") this.moveTo(0, 0);
    else if (key === "End") this.moveTo(this.shared.reachable - 1, this.columns.length - 1);
    else if (key === " ") this.select("toggle");
    else return false;
    return true;
  }

  onPlainKey({ key, shiftKey }) {
    const { rank, column } = this.active;
    const page = Math.max(1, this.visibleRows() - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
    if (key in steps) {
      this.moveTo(rank === HEAD ? Math.max(steps[key] - 1, HEAD) : this.stepped(rank, steps[key]), column);
      if (shiftKey && this.active.rank !== HEAD) this.select("range");
    } else if (key === "ArrowRight" || key === "ArrowLeft") this.moveTo(rank, column + (key === "ArrowRight" ? 1 : -1));
    else if (key === "Home" || key === "End") this.moveTo(rank, key === "Home" ? 0 : this.columns.length - 1);
    else if (key === "Escape") this.closeFault();
    else if (rank === HEAD) {
      if (key !== "Enter" && key !== " ") return false;
      this.sort(column);
    } else if (key === " ") this.select(shiftKey ? "range" : "toggle");
    else if (key === "Enter" || key === "F2") return this.edit();
    else return key.length === 1 && this.edit(key);
    return true;
  }

  stepped(rank, step) {
    return step < -1 ? Math.max(0, rank + step) : rank + step;
  }

  onMouseDown(event) {
    if (event.shiftKey && this.body.contains(event.target)) event.preventDefault(); // it would select text
  }

  onClick(event) {
    const cell = event.target.closest("[role=gridcell], [role=columnheader]");
    if (!cell || this.filters.contains(cell)) return;
    const at = [...cell.parentNode.children].indexOf(cell);
    if (cell.parentNode === this.heads) {
      this.moveTo(HEAD, at);
      this.sort(at);
      return;
    }
    this.closeFault();
    this.moveTo(this.start + this.numbers.indexOf(cell.parentNode.number), at);
    if (event.target.matches(".box") && this.columns[at].editor) this.edit();
    else this.select(event.shiftKey ? "range" : event.ctrlKey || event.metaKey ? "toggle" : "only");
  }

  onDoubleClick(event) {
    if (this.body.contains(event.target) && !event.target.matches(".box")) this.edit();
  }

  select(how) {
    if (how !== "all" && this.active.number === null) return;
    this.model.send({ type: "select", row: this.active.number, how });
  }

  // --- editing -------------------------------------------------------------------------------------------------------

  /** Edit the cell that the keyboard is on, if it can be; `typed` begins anew with a character. */
  edit(typed = null) {
    const { rank, column: at, number } = this.active;
    const column = this.columns[at];
    const row = this.rows.get(number);
    if (!column?.editor || !row || rank === HEAD) return false;
    const cell = row[at + 2];
    const { kind } = column.editor;
    const place = { number, rank, column };
    this.closeFault();
    if (typed !== null && kind !== "text" && kind !== "number") return false;
    if (kind === "check") this.send({ ...place, value: !cell, shown: !cell });
    else if (Array.isArray(cell) && cell[1] === null) this.showFault(place, "This text is too long to be edited here.");
    else this.openEditor(place, exactOf(cell), typed);
    return true;
  }

  openEditor(place, exact, typed) {
    const { editor, name } = place.column;
    const entry = ENTRIES[editor.kind] ?? ENTRIES.text;
    const input = entry.make(editor, exact);
    const before = input.value;
    if (typed !== null) input.value = typed;
    input.setAttribute("aria-label", `${name}, row ${place.rank + 1}`);
    const box = element("div", { class: "editor" }, input);
    this.editing = { ...place, node: box, input, before, entry };
    input.addEventListener("keydown", (event) => this.onEditorKey(event));
    input.addEventListener("blur", () => this.commit(false));
    this.over.append(box);
    this.place(this.editing);
    input.focus({ preventScroll: true });
    if (typed === null) input.select?.();
  }

  onEditorKey(event) {
    event.stopPropagation();
    if (event.isComposing) return;
    if (event.key === "Escape") this.closeEditor(true);
    else if (event.key === "Enter" && !event.shiftKey && !event.altKey) this.commit(true);
    else if (event.key === "Tab") {
      this.commit(true);
      this.editNext(event.shiftKey ? -1 : 1);
    } else return;
    event.preventDefault();
  }

  commit(isFocused) {
    if (!this.editing) return;
    const { number, rank, column, input, before, entry } = this.editing;
    this.closeEditor(isFocused);
    if (input.value !== before) this.send({ number, rank, column, ...entry.read(input, column.editor) });
  }

  closeEditor(isFocused) {
    const { node } = this.editing;
    this.editing = null; // first: taking it off the page makes it lose the focus
    node.remove();
    if (isFocused) this.focusActive();
  }

  editNext(step) {
    const { rank, column } = this.active;
    for (let at = column + step; at >= 0 && at < this.columns.length; at += step) {
      if (this.columns[at].editor && this.columns[at].editor.kind !== "check") {
        this.moveTo(rank, at);
        this.edit();
        return;
      }
    }
  }

  /** Show what was entered, and have the kernel do it. */
  send({ number, rank, column, value, shown }) {
    const edit = `${this.name}-${(this.edits += 1)}`;
    this.pending.set(edit, { number, rank, column, shown });
    this.redraw(number);
    this.model.send({ type: "edit", edit, row: number, column: column.name, value });
  }

  showFault(place, text) {
    this.closeFault();
    const close = element("button", { "aria-label": "Close", onclick: () => this.closeFault() }, "×");
    const node = element("div", { class: "fault" }, element("div", { role: "alert" }, text), close);
    this.fault = { ...place, node };
    this.over.append(node);
    this.place(this.fault);
    node.scrollIntoView({ block: "nearest", inline: "nearest" }); // below the last row there is no room
  }

  closeFault() {
    this.fault?.node.remove();
    this.fault = null;
  }

  /** Put what belongs to a cell where that is now. */
  place(thing) {
    const index = this.numbers.indexOf(thing.number);
    if (index >= 0) thing.rank = this.start + index;
    const head = this.heads.children[this.columns.findIndex(({ name }) => name === thing.column.name)];
    if (!head) return;
    const { node, rank } = thing;
    const room = this.sheet.clientWidth;
    node.style.setProperty("--width", `${head.offsetWidth}px`);
    node.style.maxWidth = `min(34em, ${room}px)`;
    const left = Math.max(0, Math.min(head.offsetLeft, room - node.offsetWidth));
    node.style.transform = `translate(${left}px, ${rank * this.rowHeight}px)`;
  }
}

/** How each kind of editor is made for an exact text, and read: what the kernel gets and what is shown meanwhile. */
const ENTRIES = {
  text: {
    make: (_, exact) => withValue(element("textarea", { rows: 1, spellcheck: "false" }), exact),
    read: ({ value }) => ({ value, shown: value }),
  },
  number: {
    make: (_, exact) => withValue(element("input", { inputmode: "decimal", autocomplete: "off" }), exact),
    read: ({ value }) => ({ value: value.trim(), shown: value.trim() || null }),
  },
  choice: {
    make: ({ choices, takes_none }, exact) => {
      const options = choices.map((text, at) => element("option", { value: at }, text));
      if (takes_none || !choices.includes(exact)) options.unshift(element("option", { value: "" }, NOTHING));
      return withValue(element("select", {}, ...options), choices.includes(exact) ? choices.indexOf(exact) : "");
    },
    read: ({ value }, { choices }) => ({ value, shown: value === "" ? null : choices[value] }),
  },
  date: {
    make: (_, exact) => withValue(element("input", { type: "date" }), exact),
    read: ({ value }) => ({ value, shown: value || null }),
  },
  datetime: {
    make: (_, exact) => withValue(element("input", { type: "datetime-local", step: 1 }), exact && utc(exact)),
    read: ({ value }) => {
      const moment = value && `${value.padEnd(19, ":00")}Z`;
      return { value: moment, shown: moment.replace("T", " ") || null };
    },
  },
};

const withValue = (input, value) => Object.assign(input, { value: value ?? "" });
const utc = (text) => new Date(text.replace(" ", "T")).toISOString().slice(0, 19);
const rowsOf = (count) => `${counted(count)} row${count === 1 ? "" : "s"}`;
const isOther = (before, after) => JSON.stringify(before.slice(2)) !== JSON.stringify(after.slice(2));
const box = (isOn) =>
  element("span", { class: isOn ? "box on" : "box", role: "img", "aria-label": isOn ? "true" : "false" });

function placeLine(line, rank) {
  if (line.rank === rank) return;
  line.rank = rank;
  line.style.setProperty("--rank", rank);
  line.setAttribute("aria-rowindex", rank + 3);
  line.classList.toggle("odd", rank % 2 === 1);
}

function light(line) {
  if (!line) return;
  line.classList.add("fresh");
  for (const animation of line.getAnimations()) animation.currentTime = 0;
}

export default {
  render({ model, el }) {
    const view = new TableView(model, el);
    const unfollow = follow(model, {
      draw: (whole) => view.draw(whole),
      change: (difference) => view.change(difference),
      hear: (message) => view.hear(message),
    });
    return () => {
      unfollow();
      view.close();
    };
  },
};
