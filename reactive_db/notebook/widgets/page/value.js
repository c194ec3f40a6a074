// `Value`: one line of text.
export default {
  render({ model, el }) {
    const text = element("output", { "aria-live": "polite" });
    el.classList.add("reactive-db-widget", "rdb-value");
    el.append(text);
    return follow(model, {
      draw: (whole) => {
        text.textContent = whole.text;
        text.title = whole.error ?? whole.label;
        text.classList.toggle("failed", whole.error != null);
      },
    });
  },
};
