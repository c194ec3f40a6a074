// `Metric`: a large number; its change is signed as well as coloured.
export default {
  render({ model, el }) {
    const label = element("div", { class: "label" });
    const number = element("span", { class: "number" });
    const step = element("span", { class: "step" });
    const alert = element("div", { role: "alert", hidden: true });
    el.classList.add("reactive-db-widget", "rdb-metric");
    el.append(element("div", { "aria-live": "polite", "aria-atomic": "true" }, label, number, step), alert);
    return follow(model, {
      draw: (whole) => {
        label.textContent = whole.label;
        number.textContent = whole.text;
        step.textContent = whole.step;
        step.dataset.direction = whole.is_up ? "up" : "down";
        alert.textContent = whole.error ?? "";
        alert.hidden = whole.error == null;
      },
    });
  },
};
