// What can be taken away from a playground: a link that brings the prompt and the settings back, and Python.
const KEY = "playground";
const TAKEN = [
  "prompt",
  "temperature",
  "top_k",
  "top_p",
  "min_p",
  "max_new_tokens",
  "seed",
  "stop_at_line_end",
  "second",
];

/** The page's address, with the prompt and the settings in its fragment, which no server sees. */
export function linkOf(model) {
  const settings = Object.fromEntries(TAKEN.map((trait) => [trait, model.get(trait)]));
  return `${location.href.split("#")[0]}#${KEY}=${encodeURIComponent(JSON.stringify(settings))}`;
}

const isNumber = (low, high) => (value) => typeof value === "number" && value >= low && value <= high;
const isWhole = (low, high) => (value) => Number.isInteger(value) && value >= low && value <= high;
const orNull = (check) => (value) => value === null || check(value);

const KNOB_CHECKS = {
  temperature: isNumber(0, Number.MAX_VALUE),
  top_k: orNull(isWhole(1, Number.MAX_SAFE_INTEGER)),
  top_p: orNull(isNumber(Number.MIN_VALUE, 1)),
  min_p: orNull(isNumber(0, 1)),
  max_new_tokens: isWhole(1, 1000),
};

const CHECKS = {
  ...KNOB_CHECKS,
  prompt: (value) => typeof value === "string",
  seed: isWhole(0, 2 ** 31 - 1),
  stop_at_line_end: (value) => typeof value === "boolean",
  second: orNull(
    (value) =>
      Object.keys(Object(value)).length === Object.keys(KNOB_CHECKS).length &&
      Object.entries(KNOB_CHECKS).every(([knob, check]) => check(value[knob])),
  ),
};

/** Take the settings from the page's address; what is impossible there is let be. */
export function takeLink(model) {
  const fragment = location.hash.slice(1);
  if (!fragment.startsWith(`${KEY}=`)) return;
  let settings;
  try {
    settings = JSON.parse(decodeURIComponent(fragment.slice(KEY.length + 1)));
  } catch {
    return;
  }
  for (const [trait, check] of Object.entries(CHECKS)) {
    if (trait in (settings ?? {}) && check(settings[trait])) model.set(trait, settings[trait]);
  }
}

/** A text as Python writes it: JSON's way. Half a pair of surrogates is what the page reads it as. */
const pythonText = (text) => JSON.stringify(text.replaceAll(/\p{Surrogate}/gu, "\ufffd"));

/** The Python that writes the text of the first pane. */
export function pythonOf(model) {
  const get = (trait) => model.get(trait);
  const settings = [`max_new_tokens=${get("max_new_tokens")}`, `temperature=${get("temperature")}`];
  if (get("top_k") !== null) settings.push(`top_k=${get("top_k")}`);
  if ((get("top_p") ?? 1) < 1) settings.push(`top_p=${get("top_p")}`);
  if ((get("min_p") ?? 0) > 0) settings.push(`min_p=${get("min_p")}`);
  settings.push(`seed=${get("seed")}`);
  if (get("stop_at_line_end")) settings.push('stop=[i for name, i in tokenizer.get_vocab().items() if "Ċ" in name]');
  const name = get("model_name");
  const load = name
    ? `model = dequantized(pretrained.load("${name}"))\ntokenizer = pretrained.load_tokenizer("${name}")\n`
    : "model = dequantized(model)  # yours, as the page runs it\n";
  return (
    `from minigpt import pretrained\nfrom minigpt.quantization import dequantized\n` +
    `from minigpt.sampling import complete\n\n${load}` +
    `prompt = ${pythonText(get("prompt") || "<|endoftext|>")}\n` +
    `print(prompt.replace("<|endoftext|>", "") + complete(model, tokenizer, prompt, ${settings.join(", ")}))\n`
  );
}
