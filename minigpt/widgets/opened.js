// An opened token: what it was drawn from, what was cut and why, where each head looked, what each layer would say.
import { ascending, cutsOf, nextTokenProbabilities } from "../browser/sampling.js";
import { button, element, heading, number, percent, range, visible } from "./controls.js";
import { gridOf, inkOn, pictureOf, press } from "./heads.js";

const ROWS = 10;

/** The distribution behind a token: the likeliest tokens, with the one that was drawn, and what cut the others. */
function distributionOf({ token, logits }, settings) {
  const order = ascending(logits);
  const uncut = nextTokenProbabilities(logits, { temperature: settings.temperature }, order);
  const probabilities = nextTokenProbabilities(logits, settings, order);
  const cuts = settings.temperature === 0 ? [] : cutsOf(logits, settings);
  const ranked = Array.from(order).toReversed();
  const rank = ranked.indexOf(token) + 1;
  const shown = ranked.slice(0, ROWS);
  if (rank > ROWS) shown.push(token);
  const rows = shown.map((id) => ({ id, p: probabilities[id], before: uncut[id], cut: cuts[id] }));
  const survivors = probabilities.reduce((count, p) => count + (p > 0), 0);
  const possible = uncut.reduce((count, p) => count + (p > 0), 0);
  return { rank, p: probabilities[token], before: uncut[token], survivors, possible, V: logits.length, rows };
}

/** What each layer would have said: its likeliest token and its probability of the one that was drawn. */
function lensOf(lens, token) {
  return lens.map((logits, layer) => {
    const order = ascending(logits);
    const probabilities = nextTokenProbabilities(logits, {}, order);
    const best = order[order.length - 1];
    return { layer, best, share: probabilities[best], drawn: probabilities[token] };
  });
}

function barRow({ name, p, before, cut, isDrawn }, longest) {
  const bar = element("div", { class: p > 0 || before === 0 ? "mgw-bar" : "mgw-bar mgw-cut" });
  bar.style.width = `${(100 * (p || before)) / longest}%`;
  const share = p > 0 ? percent(p) : (cut ?? "not drawn");
  return element(
    "tr",
    { class: `${p > 0 ? "" : "mgw-out"} ${isDrawn ? "mgw-chosen" : ""}` },
    element("th", { scope: "row", class: "mgw-token mgw-code" }, name),
    element("td", { class: "mgw-wide" }, element("div", { class: "mgw-track" }, bar)),
    element("td", { class: "mgw-number" }, share),
  );
}

function distributionTable({ rows }, token, names) {
  const longest = Math.max(...rows.map(({ p, before }) => p || before));
  const body = rows.map((row) => barRow({ ...row, name: visible(names[row.id]), isDrawn: row.id === token }, longest));
  const chance = heading("chance", "mgw-number");
  chance.colSpan = 2;
  return element(
    "table",
    { class: "mgw-bars" },
    element("caption", { class: "mgw-spoken" }, "The likeliest tokens"),
    element("thead", {}, element("tr", {}, heading("token", "mgw-token"), chance)),
    element("tbody", {}, ...body),
  );
}

function lensTable(layers, token, names) {
  const drawn = visible(names[token]);
  const rows = layers.map(({ layer, best, share, drawn: p }) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, layer === 0 ? "before layer 1" : `after layer ${layer}`),
      element("td", { class: "mgw-code" }, visible(names[best])),
      element("td", { class: "mgw-number" }, percent(share)),
      element("td", { class: "mgw-number" }, percent(p)),
    ),
  );
  const headings = [heading("if it ended"), heading("likeliest"), heading("its chance", "mgw-number")];
  headings.push(heading(`of ${drawn}`, "mgw-number"));
  const table = element("table", { class: "mgw-plain" });
  table.append(element("thead", {}, element("tr", {}, ...headings)), element("tbody", {}, ...rows));
  return element("details", {}, element("summary", {}, "What each layer would have said"), table);
}

/** The token's chance in words. */
function sentenceOf({ rank, p, before, survivors, possible, V }, { temperature }) {
  if (temperature === 0)
    return `At temperature 0 the likeliest token is taken: the model's first choice of ${number(V)}.`;
  const surprise = number(Math.log2(1 / p), 1);
  const cut =
    survivors < possible
      ? ` (${percent(before)} before the cuts, which left ${number(survivors)} of ${number(V)})`
      : "";
  return `Choice number ${number(rank)} of the model's: ${percent(p)}${cut}, a surprise of ${surprise} bits.`;
}

/** Who looked at whom, up to the position that the token was drawn from: the heads, and one of them large. */
function attentionOf({ tokens, weights }, { config, names }, ink, shade) {
  const [T, H] = [tokens.length, config.n_heads];
  const layers = range(1, config.n_layers);
  const rowOf = (layer, head) => (row) => {
    const start = ((head - 1) * T + row) * T;
    return weights[layer - 1].subarray(start, start + T);
  };
  const map = element("div", { class: "mgw-large" });
  const words = element("p", { class: "mgw-summary", role: "status" });
  const named = (i) => `“${visible(names[tokens[i]])}”`;
  const pointAt = (layer, head) => (event) => {
    const { left, top, width, height } = event.currentTarget.getBoundingClientRect();
    const [row, column] = [(event.clientY - top) / height, (event.clientX - left) / width].map((at) =>
      Math.floor(at * T),
    );
    if (row >= 0 && row < T && column >= 0 && column <= row) {
      words.textContent = `${named(row)} looks at ${named(column)} with ${percent(rowOf(layer, head)(row)[column])}.`;
    }
  };
  const choose = (layer, head) => {
    const last = rowOf(layer, head)(T - 1);
    const picture = pictureOf(T, rowOf(layer, head), ink);
    picture.addEventListener("pointermove", pointAt(layer, head));
    map.replaceChildren(picture);
    const ranked = range(0, T - 1).sort((i, j) => last[j] - last[i]);
    const most = ranked
      .slice(0, 3)
      .map((i) => `${named(i)} ${percent(last[i])}`)
      .join(", ");
    words.textContent = `Layer ${layer}, head ${head}: ${named(T - 1)}, the token before, looks most at ${most}.`;
    press(maps, (layer - 1) * H + head - 1);
    shade(last);
  };
  const { grid, maps } = gridOf(layers, H, (layer, head) => pictureOf(T, rowOf(layer, head), ink), choose);
  choose(config.n_layers, 1);
  const large = element("div", {}, map, words);
  return element("div", { class: "mgw-columns" }, grid, large);
}

/** Put all that there is to see of a token into the panel. */
function fill(panel, { step, settings, place, opened, looked }, ink, view, close) {
  const distribution = distributionOf(step, settings);
  const name = visible(opened.names[step.token]);
  const sentence = sentenceOf(distribution, settings);
  const title = element("p", { class: "mgw-headline" }, "Token ", number(place + 1), ": ");
  title.append(element("span", { class: "mgw-code mgw-chosen" }, name));
  title.append(button("Close", close, { class: "mgw-close" }));
  panel.replaceChildren(
    title,
    element("p", {}, sentence),
    distributionTable(distribution, step.token, opened.names),
    element("p", { class: "mgw-headline" }, "Where each head looked"),
    attentionOf(looked, opened, ink, (weights) => view.shade(weights, place)),
    lensTable(lensOf(looked.lens, step.token), step.token, opened.names),
  );
  return { sentence, name, distribution };
}

/** The panel for an opened token; there is one for both panes. */
export function openedToken(engine, root) {
  const panel = element("section", { class: "mgw-opened", "aria-label": "The opened token", hidden: "" });
  const spoken = element("p", { class: "mgw-spoken", role: "status" });
  let current = null; // the pane
  let latest = 0;
  let looking = Promise.resolve();

  const close = () => {
    latest += 1;
    current?.view.mark(-1);
    current?.view.shade(null);
    current = null;
    panel.hidden = true;
  };
  const closeAndReturn = () => {
    const text = current?.view.node;
    close();
    text?.querySelector('[tabindex="0"]')?.focus();
  };

  const show = (pane, place, opened, looked) => {
    const shown = { step: pane.steps[place], settings: pane.settings, place, opened, looked };
    const { sentence, name, distribution } = fill(panel, shown, inkOn(root), pane.view, closeAndReturn);
    panel.hidden = false;
    // On a phone it may stand below what is seen, and nothing would seem to have happened.
    const isBelow = panel.getBoundingClientRect().top > innerHeight - 60;
    if (isBelow && matchMedia("(pointer: coarse)").matches) panel.scrollIntoView({ block: "nearest" });
    spoken.textContent = `Token ${number(place + 1)}, ${name}. ${sentence}`;
    Object.assign(panel.dataset, { token: shown.step.token, rank: distribution.rank, probability: distribution.p });
  };

  /** Open a token. The promise fails if the model can't say where it looked. */
  const open = async (pane, place) => {
    close();
    const mine = ++latest;
    current = pane;
    pane.view.mark(place);
    await looking.catch(() => {}); // one look at a time: of those that wait, the last one
    if (mine !== latest) return;
    const before = pane.tokens.slice(0, pane.prompted + place);
    looking = Promise.all([engine.open(), engine.ask("look", { tokens: before })]);
    try {
      const [opened, looked] = await looking;
      if (mine === latest) show(pane, place, opened, looked);
    } catch (error) {
      if (mine !== latest) return;
      close();
      throw error;
    }
  };

  return { node: element("div", {}, panel, spoken), open, close };
}
