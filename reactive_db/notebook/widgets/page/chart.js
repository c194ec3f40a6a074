// `Chart`: a Vega-Lite view whose rows come and go without the view being made anew.

/** Vega, once per page: the first chart that waits asks its kernel for it, and all take what comes. */
const vega = (globalThis.reactiveDbVega ??= { embed: null, waiting: new Set() });
const VEGA_AGAIN_MS = 15_000; // an answer can be lost in a flood of messages

function askForVega() {
  const [first] = vega.waiting;
  first?.ask();
}

async function takeVega(code) {
  const bytes = Uint8Array.from(atob(code), (character) => character.charCodeAt(0));
  const text = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  vega.embed = (await import(url)).default;
  URL.revokeObjectURL(url);
  for (const one of vega.waiting) one.begin();
  vega.waiting.clear();
}

/** Call begin() when Vega is there. Returns a function that ends the waiting. */
function needVega(model, begin) {
  if (vega.embed) {
    begin();
    return () => {};
  }
  const one = { begin, ask: () => model.send({ type: "vega" }) };
  vega.waiting.add(one);
  if (vega.waiting.size === 1) askForVega();
  const again = setInterval(() => vega.waiting.has(one) && askForVega(), VEGA_AGAIN_MS);
  return () => {
    clearInterval(again);
    const [first] = vega.waiting;
    vega.waiting.delete(one);
    if (one === first) askForVega();
  };
}

/** What Vega-Lite would have the loader do with the spec's own values: ours come later, and no loader sees them. */
function parsedInPlace(compiled) {
  const rows = compiled.data.find((data) => data.name === "rows");
  const parse = rows?.format?.parse;
  if (!parse) return compiled;
  delete rows.format;
  rows.transform = [...Object.entries(parse).map(parsing), ...(rows.transform ?? [])];
  return compiled;
}

function parsing([field, kind]) {
  const value = `datum[${JSON.stringify(field)}]`;
  const [, how, pattern] = /^(date|utc):(.+)$/.exec(kind) ?? [];
  const to = { date: "toDate", number: "toNumber", boolean: "toBoolean", string: "toString" }[kind];
  const expr = how ? `${how === "utc" ? "utcParse" : "timeParse"}(${value}, ${pattern})` : `${to}(${value})`;
  return { type: "formula", as: field, expr };
}

export default {
  render({ model, el }) {
    const alert = element("div", { role: "alert", hidden: true });
    const view = element("div"); // Vega gives it a role and a label of its own
    const figure = element("div", { class: "figure", role: "img", "aria-busy": "true" }, view);
    let fields = [];
    let rows = new Map(); // key → { values, tuple }, in order; a tuple is what Vega has, and knows by its identity
    let spec = null;
    let config = null;
    let chart = null;
    let width = 0;
    let isSelecting = false;
    let isOver = false;

    const say = (error) => {
      alert.textContent = error ?? "";
      alert.hidden = error == null;
    };

    const tupleOf = (key, values) => {
      const tuple = Object.fromEntries(fields.map((field, at) => [field, values[at]]));
      // Vega-Lite's own number of a row: a selected row stays selected when it changes. Theirs are positive.
      if (isSelecting) tuple._vgsid_ = -key;
      return tuple;
    };

    /** Vega keeps what it has in place and puts the rest at the end: from the first new row on, all have to be new. */
    const inOrder = (keys, known, isSame) => {
      const settled = [...known.keys()];
      let isKept = true;
      return new Map(
        keys.map((key, at) => {
          isKept &&= settled[at] === key && isSame(key);
          return [key, isKept ? rows.get(key) : { values: rows.get(key).values }];
        }),
      );
    };

    const show = async () => {
      if (!chart) return;
      const tuples = Array.from(rows, ([key, row]) => (row.tuple ??= tupleOf(key, row.values)));
      try {
        // Its size is worked out anew, for the labels of an axis may need more room now.
        await chart.view.data("rows", tuples).resize().runAsync();
      } catch (error) {
        say(`The chart cannot be drawn: ${error.message}`);
      }
    };

    const fit = () => {
      if (!chart || spec.width !== "container" || !figure.clientWidth || figure.clientWidth === width) return;
      width = figure.clientWidth;
      chart.view.width(width).runAsync();
    };

    const patch = (compiled) => {
      isSelecting = JSON.stringify(compiled).includes("_vgsid_");
      return parsedInPlace(compiled);
    };

    const begin = async () => {
      if (isOver) return;
      try {
        chart = await vega.embed(view, { ...spec, data: { name: "rows", values: [] } }, {
          mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, config,
          patch, tooltip: { theme: "reactive-db" },
        });
      } catch (error) {
        say(`The chart cannot be drawn: ${error.message}`);
        return;
      }
      if (isOver) {
        chart.finalize();
        return;
      }
      fit();
      await show();
      figure.setAttribute("aria-busy", "false");
    };

    const draw = (whole) => {
      const isFirst = spec === null;
      ({ spec, config, fields } = whole);
      figure.classList.toggle("fluid", spec.width === "container");
      figure.setAttribute("aria-label", whole.label);
      rows = new Map(whole.rows.map(([key, ...values]) => [key, { values }]));
      say(whole.error);
      if (isFirst) stopWaiting = needVega(model, begin);
      else show();
    };

    const change = (difference) => {
      if ("spec" in difference) return draw(difference);
      const known = new Map(rows);
      for (const key of difference.gone) {
        rows.delete(key);
        known.delete(key);
      }
      for (const [key, ...values] of difference.rows) rows.set(key, { values });
      const isSame = (key) => rows.get(key).values === known.get(key).values;
      rows = inOrder(difference.order ?? [...rows.keys()], known, isSame);
      say(difference.error);
      return show();
    };

    let stopWaiting = () => {};
    const resized = new ResizeObserver(fit);
    el.classList.add("reactive-db-widget", "rdb-chart");
    el.append(alert, figure);
    resized.observe(figure);
    const hear = (message) => message.type === "vega" && !vega.embed && takeVega(message.code);
    const end = follow(model, { draw, change, hear });
    return () => {
      isOver = true;
      end();
      stopWaiting();
      resized.disconnect();
      chart?.finalize();
    };
  },
};
