// The part of every widget's page code that is the same: numbered messages from the kernel, in order, without a gap.
// Each widget's own file comes after this one, as one module; see page_code in widget.py.

/**
 * Follow the kernel's half of a widget.
 *
 * draw(whole) gets everything at first and after a gap, change(difference) what came since, hear(message) what the
 * kernel says outside the numbers. Returns a function that ends it.
 */
function follow(model, { draw, change = draw, hear = () => {} }) {
  let have = -1;
  const hello = () => model.send({ type: "hello", have });
  const take = (whole) => {
    if (whole && whole.number > have) {
      have = whole.number;
      draw(whole);
    }
  };
  const handlers = {
    whole: take,
    number: (message) => message.number > have && hello(),
    change: (message) => {
      if (message.number === have + 1) {
        have = message.number;
        change(message);
      } else if (message.number > have) {
        hello();
      }
    },
  };
  const onMessage = (message) => (handlers[message.type] ?? hear)(message);
  const onWhole = () => take(model.get("_whole"));
  model.on("msg:custom", onMessage);
  model.on("change:_whole", onWhole);
  onWhole();
  hello();
  return () => {
    model.off("msg:custom", onMessage);
    model.off("change:_whole", onWhole);
  };
}

/** An element with attributes and children; text children are text, never HTML. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
