// `Status`: name, timestamp and state of a connection in one line.
const SYNCING_AFTER_MS = 400; // a commit takes a few: a badge that flickered with each would say nothing

export default {
  render({ model, el }) {
    const name = element("b");
    const ts = element("span", { class: "ts" });
    const state = element("span", { class: "state", role: "status" });
    let later = 0;
    const show = (whole) => {
      state.textContent = whole.text;
      state.dataset.status = whole.status;
    };
    el.classList.add("reactive-db-widget", "rdb-status");
    el.append(name, ts, state);
    const end = follow(model, {
      draw: (whole) => {
        name.textContent = whole.name;
        ts.textContent = whole.ts;
        clearTimeout(later);
        if (whole.status === "syncing" && state.dataset.status) later = setTimeout(show, SYNCING_AFTER_MS, whole);
        else show(whole);
      },
    });
    return () => {
      clearTimeout(later);
      end();
    };
  },
};
