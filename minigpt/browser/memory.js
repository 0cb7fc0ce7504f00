// The memory of a training step, computed in a browser from the formulas that minigpt/memory/step.py takes, step.toml.
// The tests hold the two against each other, to the byte. Exact up to 2⁵³ bytes.
// Configurations and settings are objects with the names that GPTConfig and training_memory have for their fields.
import { formula } from "./formulas.js";
import { parameterSizes } from "./parameters.js";
import STEP from "../memory/step.toml";

/** The stages of a step, in the order of time. */
export const STAGES = STEP.stages.map((stage) => stage.name);

/** What the bytes of a stage are for. */
export const PARTS = ["parameters", "gradients", "optimizer", "saved", "temporaries"];

const total = (numbers) => numbers.reduce((a, b) => a + b, 0);

/** Why there is no such step; nothing if there is one. */
export function impossible(config, { precision, attention, device }) {
  if (device === "cuda") return "";
  if (precision === "amp-fp16") {
    return "The course trains in fp16 on GPUs only. On a CPU, choose fp32, amp-bf16 or bf16.";
  }
  if (attention === "explicit") return "";
  if (precision !== "fp32") {
    return "On a CPU in 16 bits, the course's attention is always the explicit one. Choose it, or fp32.";
  }
  if (config.attention_dropout === 0) return "";
  return "On a CPU, no fused kernel drops attention weights. Choose explicit attention.";
}

/** What the formulas are computed from. */
function given(config, settings) {
  const numbers = parameterSizes(config);
  return {
    ...config,
    accumulating: false,
    ...settings,
    sequence_length: settings.sequence_length ?? config.context_length,
    parameters: total(numbers),
    tensors: numbers.length,
    neighbours: numbers.reduce((most, here, i) => Math.max(most, (numbers[i - 1] ?? 0) + 2 * here), 0),
  };
}

// The formulas as functions of the values of all names, read when they are first needed and in the order of step.toml.
let functions;
function read(names) {
  const known = new Set(names);
  const section = (name) =>
    Object.entries(STEP[name]).map(([letter, [text]]) => {
      const value = formula(text, known, letter);
      known.add(letter);
      return [letter, value];
    });
  const letters = section("letters");
  const layers = Object.entries(STEP.saved).map(([layer, operations]) => [
    layer,
    Object.entries(operations).map(([operation, [text]]) => formula(text, known, operation)),
  ]);
  layers.forEach(([layer]) => known.add(layer));
  const sums = section("sums");
  known.add("done");
  const undoing = section("undoing");
  const stages = STEP.stages.map(({ name, each_block: eachBlock, rows }) => ({
    name,
    eachBlock,
    rows: rows.map(([onlyIf, detail, ...parts]) => ({
      detail,
      formulas: [onlyIf, ...parts].map((text) => formula(text, known, `${name}, ${detail}`)),
    })),
  }));
  return { letters, layers, sums, undoing, stages };
}

/** The stages of a possible step that can be the fullest, in the order of time: PARTS and total, in bytes. */
export function stepStages(config, settings) {
  const values = given(config, settings);
  functions ??= read(Object.keys(values));
  const { letters, layers, sums, undoing, stages } = functions;
  const compute = (formulas) =>
    formulas.forEach(([name, value]) => {
      values[name] = value(values);
    });

  compute(letters);
  layers.forEach(([layer, operations]) => {
    values[layer] = total(operations.map((value) => value(values)));
  });
  compute(sums);
  const rows = [];
  for (const { name, eachBlock, rows: operations } of stages) {
    for (const done of eachBlock ? new Set([0, values.L - 1]) : [0]) {
      values.done = done;
      compute(undoing);
      for (const { detail, formulas } of operations) {
        const [holds, gradients, saved, temporaries] = formulas.map((value) => value(values));
        if (!holds) continue;
        const parts = { parameters: values.P, gradients, optimizer: values.O, saved, temporaries };
        rows.push({ name, detail, ...parts, total: total(Object.values(parts)) });
      }
    }
  }
  return rows;
}

/** The stage with the most bytes; the first, if several have as many. */
export const fullest = (stages) => stages.reduce((peak, stage) => (stage.total > peak.total ? stage : peak));
