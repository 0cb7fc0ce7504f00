// What minigpt/memory/step.py computes for a training step, for a browser: the letters, the order of the operations and the
// reasons are explained there. The tests hold the two against each other, to the byte. Exact up to 2⁵³ bytes.
// Configurations and settings are objects with the names that GPTConfig and training_memory have for their fields.
import { parameterSizes } from "./parameters.js";

/** The stages of a step, in the order of time. */
export const STAGES = [
  "forward of a block", "end of forward", "start of backward", "backward of the head", "backward of a block",
  "end of backward", "optimizer step",
];

/** What the bytes of a stage are for. */
export const PARTS = ["parameters", "gradients", "optimizer", "saved", "temporaries"];

const RANDOM_STATE_BYTES = 5056;
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

/** The letters for a possible step, and what forward keeps of the embedding, a block and the head, by operation. */
function lettersOf(config, settings) {
  const { vocab_size: V, d_model: C, n_heads: H, d_ff: F, dropout, attention_dropout: attentionDropout } = config;
  const { batch_size: B, precision } = settings;
  const gpu = settings.device === "cuda";
  const explicit = settings.attention === "explicit";
  const T = settings.sequence_length ?? config.context_length;
  const N = B * T;
  const r = precision === "bf16" ? 2 : 4;
  const e = precision === "fp32" ? 4 : 2;
  const s = gpu ? r : e;
  const t = gpu ? 4 : r;
  const casts = e !== r;
  const A = B * H * T * T;
  const [R, n, f, Z] = [r * N * C, e * N * C, e * N * F, e * N * V];

  const mask = (probability, numbers, bytes) => (probability === 0 ? 0 : numbers * (gpu ? 1 : bytes));
  const copy = (rows, columns) => casts * e * rows * columns;
  const biasCopy = (numbers) => config.bias * copy(numbers, 1);
  const branchMask = mask(dropout, N * C, e);
  const norm = R + 2 * t * N;

  const droppedOrCast = attentionDropout > 0 || s !== e;
  const looks = s * A + mask(attentionDropout, A, s) + droppedOrCast * e * A;
  const scores = 2 * e * A + s * A + (s !== e) * s * A;
  const copied = B > 1 && H > 1 && T > 1 ? 2 * n : 0;
  const lookTemporaries = casts * R + 4 * n + copied + scores + 2 * e * T * T;
  const uncast = attentionDropout > 0 && s !== e ? s * A : 0;
  const outputTemporaries = casts * R + 2 * n + copied + (H > 1 && T > 1) * n + uncast;
  const rows = 4 * B * H;
  const gpuFused = e === 4 ? rows * 32 * Math.ceil(T / 32) + 16 : rows * T + 24;
  const fused = gpu ? gpuFused : rows * T;

  const embedding = { tokens: 8 * N, positions: 8 * T, "embedding dropout": mask(dropout, N * C, r) };
  const block = {
    norm1: norm,
    "query, key, value": (casts ? 3 * n : n) + 3 * copy(C, C),
    attention: 3 * n + (explicit ? looks : fused),
    output: n + copy(C, C),
    "dropout after attention": branchMask,
    norm2: norm,
    expand: n + copy(C, F),
    activation: config.activation === "relu" ? 0 : f,
    contract: f + copy(F, C),
    "dropout after feed-forward": branchMask,
  };
  const head = { "last norm": norm, head: n + copy(C, V), loss: r * N * V + r + 8 * N };
  return {
    gpu, explicit, N, r, e, s, casts, A, R, n, f, Z, copy, biasCopy, branchMask, droppedOrCast, lookTemporaries,
    outputTemporaries, embedding, block, head,
  };
}

/** What an optimizer keeps from step to step, and what it needs besides while it steps. */
function optimizerBytes(optimizer, numbers, { r, gpu }) {
  const parameters = r * total(numbers);
  if (optimizer === "sgd") return [0, 0];
  if (optimizer === "sgd-momentum") return [parameters, 0];
  const states = 2 * parameters + (gpu && optimizer !== "adamw-fused" ? 0 : 4 * numbers.length);
  if (optimizer === "adamw-fused") return [states, 0];
  if (optimizer === "adamw-foreach" || gpu) return [states, parameters];
  return [states, r * numbers.reduce((most, here, i) => Math.max(most, (numbers[i - 1] ?? 0) + 2 * here), 0)];
}

/** The stages of a possible step that can be the fullest, in the order of time: PARTS and total, in bytes. */
export function stepStages(config, settings) {
  const { vocab_size: V, d_model: C, n_layers: L, d_ff: F, dropout, bias } = config;
  const { checkpointing } = settings;
  const sizes = lettersOf(config, settings);
  const { gpu, explicit, N, r, e, s, casts, A, R, n, f, Z, copy, biasCopy, branchMask, embedding, block, head } = sizes;
  const numbers = parameterSizes(config);
  const parameters = r * total(numbers);
  const [optimizer, scratch] = optimizerBytes(settings.optimizer, numbers, sizes);
  const whole = total(Object.values(block));
  const kept = checkpointing ? R : whole;

  const stages = [];
  const stage = (name, detail, gradients, saved, temporaries) => {
    const parts = { parameters, gradients, optimizer, saved, temporaries };
    stages.push({ name, detail, ...parts, total: total(Object.values(parts)) });
  };

  // Forward.
  const targets = 8 * N;
  const batch = 16 * N;
  const below = total(Object.values(embedding)) + targets;
  const inside = block.norm1 + block["query, key, value"];
  const state = checkpointing && !gpu ? RANDOM_STATE_BYTES : 0;
  const left = state + (checkpointing ? 4 * copy(C, C) + 2 * copy(C, F) : 0) + biasCopy(5 * C + F);
  const looked = inside + block.attention + block.output;
  const lookTemporaries = biasCopy(3 * C) + sizes.lookTemporaries;
  const outputTemporaries = biasCopy(4 * C) + sizes.outputTemporaries;
  if (explicit) {
    const [saved, before] = [below + (L - 1) * kept, (L - 1) * left + state];
    stage("forward of a block", "softmax", 0, saved + inside, before + lookTemporaries);
    stage("forward of a block", "output", 0, saved + looked, before + outputTemporaries);
  }
  if (!checkpointing) {
    stage("forward of a block", "sum", 0, below + L * whole, L * left + n + R);
  }
  const loss = r * N * V;
  const everything = below + L * kept + total(Object.values(head)) - targets;
  stage("end of forward", "log softmax", 0, everything, Z + casts * (loss + R) + L * left);

  // Backward: the loss and the head.
  stage("start of backward", "log softmax", 0, everything, Z + 2 * loss + L * state);
  const E = r * V * C;
  const scored = everything - head.loss + targets;
  const states = L * state;
  if (casts) stage("backward of the head", "cast", E, scored - head.head, Z + states + R + e * V * C);
  stage("backward of the head", "product", 0, scored, 2 * Z + states + n + e * V * C);
  const norm = r * (C + bias * C);
  stage("backward of the head", "last norm", E, scored - head.head, Z + states + 2 * R + norm);

  // Backward: the blocks, from the last to the first.
  const name = "backward of a block";
  const expand = r * (F * C + bias * F);
  const contract = r * (F * C + bias * C);
  const projection = r * (C * C + bias * C);
  for (const done of new Set([0, L - 1])) {
    let gradients = E + norm + done * (expand + contract + 4 * projection + 2 * norm);
    const others = below + (L - done - 1) * kept;
    const held = Z + R + (L - done) * state;
    let saved = others + whole - branchMask;
    if (checkpointing) {
      const heldToo = held + state + casts * n;
      if (explicit) {
        stage(name, "softmax once more", gradients, others + inside, heldToo + lookTemporaries);
        stage(name, "output once more", gradients, others + looked, heldToo + outputTemporaries);
      }
      const hidden = config.activation === "relu" ? f : 0;
      const result = gpu && dropout > 0 ? n : 0;
      const branches = (dropout > 0) * n + Math.max(hidden + casts * R, branchMask + result);
      stage(name, "contract once more", gradients, saved, heldToo + branches);
    }

    const changed = casts || dropout > 0;
    stage(name, "contract", gradients, saved, held + changed * n + f + e * F * C);
    saved -= block.activation + copy(F, C);
    if (casts) stage(name, "cast of contract's gradient", gradients, saved, held + f + (e + r) * F * C);
    gradients += contract;
    stage(name, "activation", gradients, saved, held + 2 * f);
    saved -= f;
    stage(name, "expand", gradients, saved, held + n + f + e * F * C);
    if (casts) stage(name, "cast of expand's gradient", gradients, saved - block.expand, held + R + (e + r) * F * C);

    gradients += expand + norm + projection;
    saved = others + inside + block.attention;
    if (explicit) {
      stage(name, "product with the values", gradients, saved, held + 2 * n + e * A);
      saved -= n + sizes.droppedOrCast * e * A;
      if (config.attention_dropout > 0) stage(name, "attention dropout", gradients, saved, held + n + 2 * s * A);
      stage(name, "softmax", gradients, others + inside + 2 * n + s * A, held + n + 2 * s * A);
    } else {
      stage(name, "fused attention", gradients, saved + n, held + 4 * n);
    }
    gradients += 2 * projection;
    stage(name, "query, key, value", gradients, others + block.norm1 + n + copy(C, C), held + R + 2 * n + e * C * C);
  }

  const both = casts ? R : Math.max(E, R);
  stage("end of backward", "token embedding", parameters, batch, Z + (config.tie_weights ? E + both : R));
  stage("optimizer step", "update", parameters, batch, Z + scratch);
  return stages;
}

/** The stage with the most bytes; the first, if several have as many. */
export const fullest = (stages) => stages.reduce((peak, stage) => (stage.total > peak.total ? stage : peak));
