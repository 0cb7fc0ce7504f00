// The homework's three experiments with a playground: each sets the knobs, and says what to look for.
import { assign, button, element } from "./controls.js";

const OPEN = { temperature: 1, top_k: null, top_p: 1, min_p: 0, max_new_tokens: 100 };

const EXPERIMENTS = [
  {
    name: "Temperature 0 and 2",
    knobs: [{ temperature: 0 }, { temperature: 2 }],
    say:
      "The same prompt and seed. At temperature 0 the likeliest token is taken each time: look for words that " +
      "come back. At temperature 2 the differences between the tokens shrink: look for the first word that is none.",
  },
  {
    name: "Top-p 0.5 and 0.1",
    knobs: [{ top_p: 0.5 }, { top_p: 0.1 }],
    say:
      "Temperature 1 in both, but the tail is cut off: so many of the likeliest tokens are left as make up half of " +
      "the probability, or a tenth. Find the place where the texts part, and open the token there: how many were left?",
  },
  {
    name: "200 and 16 tokens",
    knobs: [{ max_new_tokens: 200 }, { max_new_tokens: 16 }],
    say:
      "A limit does not make a model say less. Look at the end of the second text: it is the beginning of the first, " +
      "cut off wherever it stood. The model is never told the number.",
  },
];

/** Buttons that set the knobs of both panes and begin. */
export function experimentsOf(model, write) {
  const said = element("p", { class: "mgw-summary", role: "status" });
  const start = ({ knobs: [first, second], say }) => {
    for (const [trait, value] of Object.entries({ ...OPEN, ...first })) model.set(trait, value);
    assign(model, "second", { ...OPEN, ...second });
    said.textContent = say;
    write();
  };
  const buttons = EXPERIMENTS.map((experiment) => button(experiment.name, () => start(experiment)));
  const line = element("div", { class: "mgw-line" }, element("span", {}, "Three experiments:"), ...buttons);
  return element("div", {}, line, said);
}
