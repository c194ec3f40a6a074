// `PresenceList`: people with the places that they are connected from; who comes lights up for a moment.
const DAY = { year: "numeric", month: "short", day: "numeric" };
const MINUTE = { hour: "2-digit", minute: "2-digit" };

/** The first letters of a name's first and last words: AL for ada.lovelace@example.org. */
function initials(user) {
  const words = user.split("@")[0].split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const first = words.length > 1 ? [words[0], words.at(-1)] : words;
  return first.map((word) => [...word][0].toUpperCase()).join("") || "?";
}

/** A hue that a name has on every page. */
function hue(user) {
  let sum = 0;
  for (const character of user) sum = (sum * 31 + character.codePointAt(0)) % 65_536;
  return (sum * 137) % 360;
}

/** `14:05`, or `27 Nov 2026, 14:05` if that is not today. */
function clock(date) {
  const isToday = date.toDateString() === new Date().toDateString();
  return date.toLocaleString([], isToday ? MINUTE : { ...DAY, ...MINUTE });
}

/** A path, its last part always in full. */
function path(place) {
  const at = place.lastIndexOf("/") + 1;
  return [element("span", { class: "folder" }, place.slice(0, at)), element("span", {}, place.slice(at))];
}

function drawn({ place, since }, isFresh) {
  const date = new Date(since);
  return element(
    "li",
    { class: isFresh ? "fresh" : null },
    element("span", { class: "place", title: place }, ...path(place)),
    element("time", { datetime: since, title: date.toLocaleString() }, `since ${clock(date)}`),
  );
}

export default {
  render({ model, el }) {
    const count = element("div", { class: "count", role: "status" });
    const people = element("ul", { class: "people", "aria-label": "Who is connected" });
    const more = element("div", { class: "more" });
    let known; // the places that were there before: what is not among them lights up

    const person = ({ user, places }) => {
      const key = (one) => JSON.stringify([user, one.place, one.since]);
      const avatar = element("span", { class: "avatar", "aria-hidden": "true" }, initials(user));
      avatar.style.setProperty("--hue", hue(user));
      const shown = places.map((one) => drawn(one, known && !known.has(key(one))));
      const list = element("ul", { class: "places", "aria-label": `Places of ${user}` }, ...shown);
      const made = element("li", {}, avatar, element("div", { class: "about" }, element("b", {}, user), list));
      return [made, places.map(key)];
    };

    el.classList.add("reactive-db-widget", "rdb-presence");
    el.append(count, people, more);
    return follow(model, {
      draw: (whole) => {
        const made = whole.people.map(person);
        people.replaceChildren(...made.map(([item]) => item));
        known = new Set(made.flatMap(([, keys]) => keys));
        el.classList.toggle("stale", whole.is_stale);
        count.textContent = whole.is_stale ? `${whole.count}, before the connection was lost` : whole.count;
        more.textContent = whole.more ? `and ${whole.more.toLocaleString()} more` : "";
        more.hidden = !whole.more;
      },
    });
  },
};
