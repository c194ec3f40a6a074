// `Form`: a control for every field, which reads and shows what fields.py says that a page sends.
const COMMANDS = ["a", "y", "z", "Z"]; // with Ctrl: select everything, undo, redo
const PREFIX = `rdb-form-${Math.random().toString(36).slice(2)}`;
let count = 0;
const newId = () => `${PREFIX}-${(count += 1)}`;

const mark = () => element("span", { class: "mark", "aria-hidden": "true", title: "required" }, "*");
const button = (text, label, onclick, kind = "") =>
  element("button", { type: "button", class: kind, "aria-label": label, title: label, onclick }, text);

/** What all controls share: a place for a hint and for a fault, and what is said of them. */
class Control {
  constructor(spec) {
    this.spec = spec;
    this.hint = element("small", { class: "hint", id: newId() }, spec.hint ?? "");
    this.hint.hidden = !spec.hint;
    this.message = element("small", { class: "fault", id: newId(), hidden: true });
  }

  /** Tie `target`, which takes the focus, to the hint and the fault. */
  describe(target) {
    this.target = target;
    target.setAttribute("aria-describedby", `${this.hint.id} ${this.message.id}`);
  }

  fault(text) {
    this.message.textContent = text ?? "";
    this.message.hidden = text == null;
    if (text == null) this.target.removeAttribute("aria-invalid");
    else this.target.setAttribute("aria-invalid", "true");
  }

  focus() {
    this.target.focus();
  }

  reset() {
    this.write(this.spec.default);
    this.fresh = JSON.stringify(this.read());
  }

  /** Whether somebody has entered something since the last reset. */
  isTouched() {
    return JSON.stringify(this.read()) !== this.fresh;
  }

  /** The control of a place within this one, as near as there is one. */
  at() {
    return this;
  }

  parts() {
    return [];
  }

  /** Forget all faults. */
  clear() {
    this.fault(null);
    for (const part of this.parts()) part.clear();
  }

  /** The controls that hold what the page knows to be wrong; each says so. */
  check() {
    return this.parts().flatMap((part) => part.check());
  }
}

/** A single input with its label. */
class Single extends Control {
  constructor(spec) {
    super(spec);
    const keepsDefault = spec.kind === "text" || spec.kind === "lines";
    this.isRequired = !spec.is_optional && !(keepsDefault && "default" in spec);
    this.input = this.make();
    this.input.id = newId();
    this.input.required = this.isRequired;
    this.input.addEventListener("input", () => this.fault(null));
    this.text = element("span");
    this.label = element("label", { for: this.input.id }, this.text);
    if (this.isRequired && !("default" in spec)) this.label.append(mark());
    this.node = element("div", { class: `field ${spec.kind}` }, this.label, this.input, this.hint, this.message);
    this.describe(this.input);
    this.name(spec.label);
  }

  name(label) {
    this.text.textContent = label;
  }

  make() {
    return element(...INPUTS[this.spec.kind]);
  }

  read() {
    return this.input.value;
  }

  write(value) {
    this.input.value = value ?? "";
  }

  check() {
    const { validity, validationMessage } = this.input;
    if (validity.valid) return [];
    this.fault(validationMessage);
    return [this];
  }
}

const PLAIN = { autocomplete: "off" };
const INPUTS = {
  text: ["input", { type: "text", ...PLAIN }],
  lines: ["textarea", { rows: 4 }],
  json: ["textarea", { rows: 2, spellcheck: "false", class: "code", placeholder: "JSON" }],
  id: ["input", { type: "text", spellcheck: "false", class: "code", ...PLAIN }],
  integer: ["input", { type: "number", step: 1, ...PLAIN }],
  number: ["input", { type: "number", step: "any", ...PLAIN }],
  date: ["input", { type: "date" }],
  datetime: ["input", { type: "datetime-local", step: 1 }],
  file: ["input", { type: "file" }],
  check: ["input", { type: "checkbox" }],
};

class Check extends Single {
  constructor(spec) {
    super({ ...spec, is_optional: true });
    this.label.before(this.input);
  }

  read() {
    return this.input.checked;
  }

  write(value) {
    this.input.checked = value ?? false;
  }
}

/** A time on the clock of the browser; one that nobody touches stays exact. */
class Moment extends Single {
  constructor(spec) {
    const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
    super({ ...spec, hint: [spec.hint, `Time zone: ${timeZone}`].filter(Boolean).join(" ") });
  }

  read() {
    const { value } = this.input;
    if (value === this.shown) return this.exact;
    return value === "" ? null : new Date(value).toISOString();
  }

  write(value) {
    this.input.value = value ? localText(value) : "";
    this.shown = this.input.value;
    this.exact = value ?? null;
  }
}

function localText(iso) {
  const moment = new Date(iso);
  return new Date(moment - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

class FileInput extends Single {
  constructor(spec, view) {
    super(spec);
    this.view = view;
    this.input.addEventListener("change", () => {
      this.loading = this.load(this.input.files[0]);
      view.loading.add(this.loading);
    });
  }

  async load(file) {
    this.data = null;
    if (!file) return;
    const { file_bytes_max: most } = this.view.state;
    if (file.size > most) {
      this.input.value = "";
      this.fault(`“${file.name}” has ${file.size.toLocaleString()} bytes; at most ${most.toLocaleString()} are allowed`);
      return;
    }
    const reader = new FileReader();
    const loaded = new Promise((resolve) => reader.addEventListener("loadend", resolve));
    reader.readAsDataURL(file);
    await loaded;
    if (this.input.files[0] !== file) return; // another one was chosen meanwhile
    if (reader.error) this.fault(reader.error.message);
    else this.data = reader.result.slice(reader.result.indexOf(",") + 1);
  }

  read() {
    return this.data ?? null;
  }

  write() {
    this.input.value = "";
    this.data = null;
  }
}

/** One of a few: the page sends its number. */
class Choice extends Single {
  make() {
    const options = this.spec.labels.map((label, at) => element("option", { value: at }, label));
    const none = element("option", { value: "" }, this.spec.is_optional ? "—" : "Choose…");
    return element("select", {}, none, ...options);
  }

  read() {
    return this.input.value === "" ? null : Number(this.input.value);
  }
}

/** One of the documents of a handle: the page sends its id. */
class DocumentChoice extends Single {
  constructor(spec, view) {
    super(spec);
    this.view = view;
    this.refresh();
    view.documents.add(this);
  }

  make() {
    return element("select");
  }

  /** Show the documents that are there now; one that was chosen stays. */
  refresh() {
    const { value } = this.input;
    const gone = this.input.selectedOptions[0]?.dataset.name;
    const { options, total } = this.view.state.choices[this.spec.choices];
    const made = options.map(([id, name]) => element("option", { value: id, "data-name": name }, name));
    made.unshift(element("option", { value: "" }, this.spec.is_optional ? "—" : "Choose…"));
    if (value && !options.some(([id]) => id === value)) {
      made.push(element("option", { value, "data-name": gone }, `${gone ?? value} (no longer there)`));
    }
    if (total > options.length) {
      const text = `${options.length.toLocaleString()} of ${total.toLocaleString()} are shown`;
      made.push(element("option", { disabled: true }, text));
    }
    this.input.replaceChildren(...made);
    this.input.value = value;
  }

  write(value) {
    this.input.value = value ?? "";
    if (value && this.input.value !== value) {
      this.input.append(element("option", { value }, value));
      this.input.value = value;
    }
  }
}

/** A group of controls with a legend; an optional one is there only while its box is ticked. */
class Group extends Control {
  constructor(spec) {
    super(spec);
    this.text = element("span");
    this.body = element("div", { class: "body" });
    const onchange = () => this.turn(this.box.checked);
    this.box = spec.is_optional ? element("input", { type: "checkbox", onchange }) : null;
    const legend = this.box ? element("label", {}, this.box, this.text) : this.text;
    this.node = element(
      "fieldset",
      { class: `group ${spec.kind}`, tabindex: this.box ? null : -1 },
      element("legend", {}, legend),
      this.hint,
      this.message,
      this.body,
    );
    this.describe(this.box ?? this.node);
    this.name(spec.label);
    this.turn(!spec.is_optional);
  }

  name(label) {
    this.text.textContent = label;
  }

  turn(isOn) {
    this.isOn = isOn;
    this.body.hidden = !isOn;
    this.node.classList.toggle("off", !isOn);
    if (this.box) this.box.checked = isOn;
    this.fault(null);
  }

  read() {
    return this.isOn ? this.readAll() : null;
  }

  write(value) {
    if (this.spec.is_optional) this.turn(value != null);
    this.writeAll(value ?? undefined);
  }

  check() {
    return this.isOn ? super.check() : [];
  }
}

class Fields extends Group {
  constructor(spec, view) {
    super(spec);
    this.fields = new Map(spec.fields.map((field) => [field.name, control(field, view)]));
    this.body.append(...this.parts().map(({ node }) => node));
  }

  parts() {
    return [...this.fields.values()];
  }

  focus() {
    const [first] = this.box ? [] : this.parts();
    if (first) first.focus();
    else super.focus();
  }

  readAll() {
    return Object.fromEntries([...this.fields].map(([name, field]) => [name, field.read()]));
  }

  writeAll(value) {
    for (const [name, field] of this.fields) value === undefined ? field.reset() : field.write(value[name]);
  }

  at([name, ...rest]) {
    return this.fields.get(name)?.at(rest) ?? this;
  }
}

/** Rows that are added and removed. */
class Rows extends Group {
  constructor(spec, view) {
    super(spec);
    this.view = view;
    this.rows = [];
    this.list = element("div", { class: "rows" });
    this.more = button("+ Add", `Add to ${spec.label}`, () => this.add().parts[0].focus(), "small");
    this.body.append(this.list, this.more);
  }

  parts() {
    return this.rows.flatMap(({ parts }) => parts);
  }

  add() {
    const row = { parts: this.newParts() };
    const remove = button("×", "", () => this.remove(row), "small remove");
    row.remove = remove;
    row.node = element("div", { class: "row" }, ...row.parts.map(({ node }) => node), remove);
    this.rows.push(row);
    this.list.append(row.node);
    this.number();
    for (const part of row.parts) part.reset();
    return row;
  }

  remove(row) {
    const at = this.rows.indexOf(row);
    this.rows.splice(at, 1);
    row.node.remove();
    this.number();
    (this.rows[Math.min(at, this.rows.length - 1)]?.remove ?? this.more).focus();
  }

  /** Say of each row which one it is. */
  number() {
    this.rows.forEach(({ parts, remove }, at) => {
      const label = `${this.spec.label} ${at + 1}`;
      parts.forEach((part, half) => part.name(parts.length === 1 ? label : `${label} ${half ? "value" : "key"}`));
      remove.title = `Remove ${label}`;
      remove.setAttribute("aria-label", remove.title);
    });
  }

  writeAll(values = []) {
    for (const { node } of this.rows) node.remove();
    this.rows = [];
    for (const value of values) this.writeRow(this.add(), value);
  }
}

class List extends Rows {
  newParts() {
    return [control(this.spec.item, this.view)];
  }

  readAll() {
    return this.rows.map(({ parts }) => parts[0].read());
  }

  writeRow({ parts }, value) {
    parts[0].write(value);
  }

  at([row, ...rest]) {
    return this.rows[row]?.parts[0].at(rest) ?? this;
  }
}

class Record extends Rows {
  newParts() {
    const [key, item] = [control(this.spec.key, this.view), control(this.spec.item, this.view)];
    if (key.input) key.input.placeholder = "key";
    return [key, item];
  }

  readAll() {
    return this.rows.map(({ parts }) => parts.map((part) => part.read()));
  }

  writeRow({ parts }, value) {
    parts.forEach((part, half) => part.write(value[half]));
  }

  at([row, half, ...rest]) {
    return this.rows[row]?.parts[half === "key" ? 0 : 1].at(rest) ?? this;
  }
}

/** A member of a union is chosen first, then entered. */
class Union extends Control {
  constructor(spec, view) {
    super(spec);
    this.view = view;
    const { label, is_optional } = spec;
    this.kind = new Choice({ kind: "choice", label, is_optional, labels: spec.members.map((member) => member.label) });
    this.kind.input.addEventListener("change", () => this.show());
    this.inner = null;
    this.body = element("div", { class: "member" });
    this.node = element("div", { class: "union" }, this.kind.node, this.hint, this.message, this.body);
    this.describe(this.kind.input);
  }

  name(label) {
    this.kind.name(label);
  }

  parts() {
    return this.inner ? [this.kind, this.inner] : [this.kind];
  }

  show() {
    const member = this.kind.read();
    this.inner = member === null ? null : control(this.spec.members[member], this.view);
    this.inner?.reset();
    this.body.replaceChildren(...(this.inner ? [this.inner.node] : []));
  }

  read() {
    return this.inner ? { member: this.kind.read(), value: this.inner.read() } : null;
  }

  write(value) {
    this.kind.write(value?.member);
    this.show();
    if (value) this.inner?.write(value.value);
  }

  at(place) {
    return this.inner?.at(place) ?? this;
  }
}

const CONTROLS = {
  check: Check,
  datetime: Moment,
  file: FileInput,
  choice: Choice,
  document: DocumentChoice,
  object: Fields,
  list: List,
  record: Record,
  union: Union,
};

const control = (spec, view) => new (CONTROLS[spec.kind] ?? Single)(spec, view);

class FormView {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.state = {};
    this.controls = new Map();
    this.specs = new Map(); // as JSON
    this.documents = new Set();
    this.loading = new Set();
    this.submitted = null;
    this.title = element("div", { class: "title", id: newId() });
    this.summary = element("p", { class: "summary" });
    this.problem = element("div", { role: "alert", hidden: true });
    this.fields = element("div", { class: "fields" });
    this.alert = element("div", { role: "alert", hidden: true });
    this.button = element("button", { type: "submit", class: "submit" });
    this.done = element("span", { class: "done", role: "status" });
    this.form = element(
      "form",
      { novalidate: true, "aria-labelledby": this.title.id },
      ...[this.title, this.summary, this.problem, this.fields, this.alert],
      element("div", { class: "end" }, this.button, this.done),
    );
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.form.addEventListener("input", () => (this.done.textContent = ""));
    this.keys = (event) => this.onKey(event);
    window.addEventListener("keydown", this.keys, true);
    el.classList.add("reactive-db-widget", "rdb-form");
    el.append(this.form);
  }

  close() {
    window.removeEventListener("keydown", this.keys, true);
  }

  /**
   * JupyterLab hears keys first, and lets no Enter through, not even one that it knows no shortcut for. Those that mean
   * something in a form are kept from it; others (Ctrl+S, Escape) are not.
   */
  onKey(event) {
    if (!this.el.contains(event.composedPath()[0])) return;
    const hasCommand = event.ctrlKey || event.metaKey;
    if (hasCommand && event.key === "Enter") {
      event.preventDefault();
      event.stopPropagation();
      this.submit();
    } else if (hasCommand ? COMMANDS.includes(event.key) : !event.altKey && event.key !== "Escape") {
      event.stopPropagation();
    }
  }

  change(difference) {
    Object.assign(this.state, difference);
    const { title, summary, problem } = this.state;
    this.title.textContent = title;
    this.summary.textContent = summary;
    this.summary.hidden = !summary;
    this.tell(this.problem, problem);
    this.busy(this.submitted !== null);
    if ("fields" in difference) this.drawFields();
    if ("choices" in difference) this.refresh();
  }

  /** Make new controls where fields have changed; what was typed into those that are still there stays. */
  drawFields() {
    const [before, specs] = [this.controls, this.specs];
    this.specs = new Map(this.state.fields.map((spec) => [spec.name, JSON.stringify(spec)]));
    this.controls = new Map();
    for (const spec of this.state.fields) {
      const old = before.get(spec.name);
      const isSame = old && specs.get(spec.name) === this.specs.get(spec.name);
      const made = isSame ? old : control(spec, this);
      this.controls.set(spec.name, made);
      if (isSame) continue;
      made.reset();
      if (old?.isTouched() && isAlike(old.spec, made.spec)) made.write(old.read());
    }
    const { activeElement } = this.el.getRootNode();
    this.fields.replaceChildren(...[...this.controls.values()].map(({ node }) => node));
    if (this.fields.contains(activeElement)) activeElement.focus();
  }

  refresh() {
    for (const one of this.documents) {
      if (this.form.contains(one.node)) one.refresh();
      else this.documents.delete(one);
    }
  }

  async submit() {
    if (this.submitted !== null) return;
    const all = [...this.controls.values()];
    this.tell(this.alert, null);
    this.done.textContent = "";
    for (const one of all) one.clear();
    const [bad] = all.flatMap((one) => one.check());
    if (bad) {
      bad.focus();
      return;
    }
    this.submitted = newId();
    this.busy(true);
    await Promise.all(this.loading);
    this.loading.clear();
    this.values = Object.fromEntries([...this.controls].map(([name, one]) => [name, one.read()]));
    this.model.send({ type: "submit", submit: this.submitted, values: this.values });
  }

  hear(message) {
    if (message.type !== "answer" || message.submit !== this.submitted) return;
    this.submitted = null;
    this.busy(false);
    if (message.error === null && message.faults.length === 0) this.succeed();
    else this.fail(message);
  }

  /** Begin anew, but for what was entered meanwhile. */
  succeed() {
    const all = [...this.controls];
    const done = all.filter(([name, one]) => JSON.stringify(one.read()) === JSON.stringify(this.values[name]));
    for (const [, one] of done) one.reset();
    this.done.textContent = `${this.state.title}: done`;
    if (this.isAttended() && done.length === all.length) (all[0]?.[1] ?? this.button).focus();
  }

  /** Whether nobody has gone elsewhere on the page. */
  isAttended() {
    const { activeElement } = this.el.getRootNode();
    return !activeElement || activeElement === document.body || this.form.contains(activeElement);
  }

  fail({ faults, error }) {
    const found = faults.map(({ place: [name, ...rest], text }) => [this.controls.get(name)?.at(rest), text]);
    const rest = found.filter(([one]) => !one).map(([, text]) => text);
    for (const [one, text] of found) one?.fault(text);
    this.tell(this.alert, [error, ...rest].filter((text) => text != null).join("\n") || null);
    if (this.isAttended()) found.find(([one]) => one)?.[0].focus();
  }

  tell(alert, text) {
    alert.textContent = text ?? "";
    alert.hidden = text == null;
  }

  busy(isBusy) {
    this.form.setAttribute("aria-busy", String(isBusy));
    // Not `disabled`: the focus would be lost.
    this.button.setAttribute("aria-disabled", String(isBusy));
    this.button.textContent = isBusy ? `${this.state.title}: running…` : this.state.title;
  }
}

/** Whether what was typed for one field still fits another. */
function isAlike(before, after) {
  const shape = (spec) => JSON.stringify({ ...spec, label: "", hint: "", default: "", is_optional: "" });
  return shape(before) === shape(after);
}

export default {
  render({ model, el }) {
    const view = new FormView(model, el);
    const unfollow = follow(model, {
      draw: (whole) => view.change(whole),
      change: (difference) => view.change(difference),
      hear: (message) => view.hear(message),
    });
    return () => {
      unfollow();
      view.close();
    };
  },
};
