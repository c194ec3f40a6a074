// The page's half of live outputs, for JupyterLab 4 and Notebook 7: puts what the kernel says a live output shows into
// the notebook's own cells, so that it is live after a reload and in every tab, and is saved with the notebook.
//
// Plain JavaScript in the form that JupyterLab loads extensions in (module federation): no build step. The kernel's half
// is reactive_db/notebook/live/pages.py; every frame has a number, and after a gap the page asks for everything again.

(() => {
  const TARGET = "reactive_db.live";
  const WIDGET = "application/vnd.jupyter.widget-view+json";

  const STYLE = `
    .jp-OutputArea[data-rdb-state] > .jp-OutputArea-child:first-child { position: relative; }
    .jp-OutputArea[data-rdb-state] > .jp-OutputArea-child:first-child::before {
      box-sizing: border-box; color: var(--jp-success-color1); content: "● live"; font-family: var(--jp-ui-font-family);
      font-size: var(--jp-ui-font-size0); left: 0; line-height: 2.2; padding-right: var(--jp-code-padding);
      pointer-events: none; position: absolute; text-align: right; width: var(--jp-cell-prompt-width); }
    .jp-OutputArea[data-rdb-state="paused"] > .jp-OutputArea-child:first-child::before {
      color: var(--jp-ui-font-color2); content: "❚❚ paused"; }
    .jp-OutputArea[data-rdb-state="failed"] > .jp-OutputArea-child:first-child::before {
      color: var(--jp-error-color1); content: "● failed"; }
    .jp-OutputArea[data-rdb-state="failed"] > .jp-OutputArea-child:has(~ .jp-OutputArea-child) > .jp-OutputArea-output {
      opacity: 0.5; }`;

  /** The live outputs of one notebook that is open in this page. */
  class LiveNotebook {
    constructor(panel) {
      this._panel = panel;
      this._have = -1;
      this._comm = null;
      this._shown = new Map(); // what each live output shows, by its id
      this._waiting = new Set(); // ids of outputs whose cell is running: its own messages come first
      this._isSavingAgain = false;
      const connect = () => this._connect(panel.sessionContext.session?.kernel ?? null);
      panel.sessionContext.kernelChanged.connect(connect);
      panel.sessionContext.statusChanged.connect((_, status) => {
        if (status === "restarting" || status === "autorestarting") this._forget();
      });
      panel.sessionContext.ready.then(connect);
      panel.context.saveState.connect((_, state) => this._onSave(state));
    }

    /** Follow a kernel: the extension may be loaded in it already, or later. */
    async _connect(kernel) {
      this._forget();
      if (kernel === null || kernel === this._kernel) return;
      this._kernel = kernel;
      kernel.registerCommTarget(TARGET, (comm) => this._attach(comm));
      const reply = await kernel.requestCommInfo({ target_name: TARGET });
      for (const id of Object.keys(reply.content.comms ?? {})) {
        if (!kernel.hasComm(id)) this._attach(kernel.createComm(TARGET, id));
      }
    }

    _attach(comm) {
      this._forget();
      this._comm = comm;
      comm.onMsg = (message) => this._take(comm, message.content.data);
      comm.onClose = () => this._forget();
      comm.send({ type: "hello" });
    }

    _forget() {
      this._comm = null;
      this._have = -1;
      for (const id of [...this._shown.keys()]) this._drop(id);
    }

    _take(comm, frame) {
      if (frame.statics) {
        this._keep(frame.statics);
        return;
      }
      if (comm !== this._comm || frame.number <= this._have) return;
      const isNext = frame.live !== undefined && (frame.is_whole || frame.number === this._have + 1);
      if (!isNext) {
        comm.send({ type: "hello" });
        return;
      }
      this._have = frame.number;
      const gone = frame.is_whole ? [...this._shown.keys()].filter((id) => !(id in frame.live)) : frame.gone;
      for (const [id, live] of Object.entries(frame.live)) {
        this._shown.set(id, live);
        this._apply(id);
      }
      for (const id of gone) this._drop(id);
    }

    _drop(id) {
      const live = this._shown.get(id);
      this._shown.delete(id);
      this._waiting.delete(id);
      const found = live && this._cell(live.cell);
      if (found && ![...this._shown.values()].some((other) => other.cell === live.cell)) {
        this._mark(found.widget, null);
      }
    }

    /** Make the cell show what its live output shows now, changing no more of it than has to be. */
    _apply(id) {
      const live = this._shown.get(id);
      const found = this._cell(live.cell);
      if (!found) return;
      if (found.model.executionState === "running") {
        this._waiting.add(id);
        found.model.stateChanged.connect(this._onCellState, this);
        return;
      }
      this._waiting.delete(id);
      const model = found.model.outputs;
      const before = model.toJSON();
      const [start, end] = live.owns_cell ? [0, before.length] : span(before, id);
      replace(found.model, before, start, end, live.outputs);
      this._mark(found.widget, live.state);
    }

    _onCellState(model, change) {
      if (change.name !== "executionState" || change.newValue === "running") return;
      model.stateChanged.disconnect(this._onCellState, this);
      this._applyWaiting();
    }

    _applyWaiting() {
      for (const id of [...this._waiting]) this._apply(id);
    }

    /** A widget draws itself; its static form, for readers of the file, is asked for when the file is saved. */
    _onSave(state) {
      if (state !== "completed") return;
      if (this._isSavingAgain) {
        this._isSavingAgain = false;
        return;
      }
      const widgets = [...this._widgetOutputs()].map(({ output }) => output.data[WIDGET].model_id);
      if (widgets.length > 0) this._comm?.send({ type: "statics", widgets });
    }

    /** Put static forms into the file alone, where they have changed, and save it once more. */
    _keep(statics) {
      for (const { cell, at, output } of [...this._widgetOutputs()]) {
        const data = statics[output.data[WIDGET].model_id];
        if (data === undefined || canonical(data) === canonical(output.data)) continue;
        keep(cell.model, at, { ...output, data });
        this._isSavingAgain = true;
      }
      if (this._isSavingAgain) this._panel.context.save();
    }

    *_widgetOutputs() {
      for (const cell of this._panel.content.widgets) {
        for (const [at, output] of (cell.model.sharedModel.getOutputs?.() ?? []).entries()) {
          if (output.data?.[WIDGET] && output.metadata?.reactive_db?.live) yield { cell, at, output };
        }
      }
    }

    _cell(id) {
      const widget = this._panel.content.widgets.find((one) => one.model?.id === id && one.model.type === "code");
      return widget ? { widget, model: widget.model } : null;
    }

    _mark(widget, state) {
      const node = widget.outputArea?.node;
      if (!node) return;
      if (state === null) delete node.dataset.rdbState;
      else node.dataset.rdbState = state;
    }
  }

  /** Where the output with that id is among the outputs of a cell; at its end if it is not there. */
  function span(outputs, id) {
    const at = outputs.findIndex((output) => output.metadata?.reactive_db?.live === id);
    return at < 0 ? [outputs.length, outputs.length] : [at, at + 1];
  }

  /** Replace outputs start … end of a cell: in place as far as possible, so that nothing flickers. */
  function replace(cell, before, start, end, outputs) {
    const model = cell.outputs;
    const same = outputs.map((output, at) => start + at < end && isSame(before[start + at], output));
    const isShorter = outputs.length < end - start;
    const isInside = outputs.length > end - start && end < before.length;
    const hasOtherWidget = outputs.some((output, at) => !same[at] && output.data?.[WIDGET]);
    if (isShorter || isInside || hasOtherWidget) {
      // A widget's renderer keeps the view before beside the new one; nothing can be taken out of the middle.
      model.fromJSON([...before.slice(0, start), ...outputs, ...before.slice(end)]);
      return;
    }
    outputs.forEach((output, at) => {
      if (start + at >= end) model.add(output);
      else if (!same[at]) model.set(start + at, output);
      else if (output.data?.[WIDGET]) keep(cell, start + at, output);
    });
  }

  /** Put an output into the file alone: its widget draws itself. */
  function keep(cell, at, output) {
    if (canonical(cell.sharedModel.getOutputs()[at]) === canonical(output)) return;
    cell.sharedModel.updateOutputs(at, at + 1, [output], "silent-change");
  }

  /** Whether two outputs look the same; the same widget draws itself, whatever its static form. */
  function isSame(one, other) {
    const model = one.data?.[WIDGET]?.model_id;
    if (model !== undefined && model === other.data?.[WIDGET]?.model_id) return true;
    return canonical(one) === canonical(other);
  }

  function canonical(value) {
    return JSON.stringify(value, (_, part) => {
      if (Array.isArray(part) && part.every((line) => typeof line === "string")) return part.join("");
      if (part && typeof part === "object" && !Array.isArray(part)) {
        return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
      }
      return part;
    });
  }

  const activate = (_, tracker) => {
    if (!tracker) return; // a page without notebooks, such as Voila's
    document.head.append(Object.assign(document.createElement("style"), { textContent: STYLE }));
    const notebooks = new WeakMap();
    const follow = (panel) => notebooks.has(panel) || notebooks.set(panel, new LiveNotebook(panel));
    tracker.forEach(follow);
    tracker.widgetAdded.connect((_, panel) => follow(panel));
  };

  /** The newest of the versions that the page offers of a package; {} where it offers none, as Voila does. */
  const shared = async (scope, name) => {
    const offered = scope[name] ?? {};
    const newest = Object.keys(offered).sort((a, b) => a.localeCompare(b, undefined, { numeric: true })).at(-1);
    return newest === undefined ? {} : (await offered[newest].get())();
  };

  let scope = null;
  window._JUPYTERLAB = window._JUPYTERLAB ?? {};
  window._JUPYTERLAB["reactive-db"] = {
    init: (offered) => {
      scope = offered;
    },
    get: async () => {
      const { INotebookTracker } = await shared(scope, "@jupyterlab/notebook");
      const plugin = { id: "reactive-db:live", autoStart: true, optional: [INotebookTracker], activate };
      return () => ({ __esModule: true, default: INotebookTracker ? [plugin] : [] });
    },
  };
})();
