// `Pager`: the loaded pages as parts of one table, and a button for the next.
export default {
  render({ model, el }) {
    const head = element("tr");
    const table = element("table", {}, element("thead", {}, head));
    const alert = element("div", { role: "alert", hidden: true });
    const more = element("button", { type: "button", onclick: () => load() });
    const count = element("span", { class: "count", role: "status" });
    let columns = [];
    let pages = []; // one <tbody> each
    let known = []; // the rows of each as text: what is not among them lights up

    const busy = (isBusy) => {
      table.setAttribute("aria-busy", String(isBusy));
      more.classList.toggle("busy", isBusy);
    };

    const load = () => {
      if (more.getAttribute("aria-disabled") === "true" || more.classList.contains("busy")) return;
      busy(true);
      model.send({ type: "more", pages: pages.length });
    };

    const say = (error) => {
      alert.textContent = error ?? "";
      alert.hidden = error == null;
    };

    const cell = (text, at) =>
      element("td", { class: text === null ? "nothing" : columns[at][1] ? "number" : null }, text ?? "—");

    const draw = (rows, at) => {
      const texts = rows.map((row) => JSON.stringify(row));
      const before = known[at] && new Set(known[at]);
      const made = rows.map((row, index) =>
        element("tr", { class: before && !before.has(texts[index]) ? "fresh" : null }, ...row.map(cell)),
      );
      if (!pages[at]) table.append((pages[at] = element("tbody")));
      pages[at].replaceChildren(...made);
      known[at] = texts;
    };

    const change = (difference) => {
      for (const [at, rows] of difference.pages) draw(rows, at);
      for (const gone of pages.splice(difference.pages_total)) gone.remove();
      known.length = pages.length;
      count.textContent = difference.count;
      more.textContent = difference.more;
      // Not `disabled`: the focus would be lost at the end.
      more.setAttribute("aria-disabled", String(!difference.can_load));
      say(difference.error);
      busy(false);
    };

    const whole = (message) => {
      if (!("columns" in message)) return change(message);
      columns = message.columns;
      table.setAttribute("aria-label", message.label);
      head.replaceChildren(
        ...columns.map(([name, isNumber]) => element("th", { scope: "col", class: isNumber ? "number" : null }, name)),
      );
      for (const page of pages) page.remove();
      pages = [];
      known = [];
      change(message);
    };

    el.classList.add("reactive-db-widget", "rdb-pager");
    el.append(alert, element("div", { class: "rows" }, table), element("div", { class: "end" }, more, count));
    return follow(model, {
      draw: whole,
      change: whole,
      hear: (message) => {
        if (message.type !== "failed") return;
        say(message.error);
        busy(false);
      },
    });
  },
};
