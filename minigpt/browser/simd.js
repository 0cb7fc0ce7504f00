// Rows times rows, x Wᵀ: what takes nearly all of a model's time. A loop in JavaScript; and one in WebAssembly,
// whose SIMD instructions take four numbers at once, for weights that lie in a memory of WebAssembly.

// The instructions of the second loop, in bytes. Most take what the ones before have left on a stack, and leave their
// result there.
const get = (variable) => [0x20, variable];
const set = (variable) => [0x21, variable]; // takes the value
const tee = (variable) => [0x22, variable]; // leaves it there
const whole = (number) => [0x41, number]; // below 64
const [ADD, LESS] = [0x6a, 0x49]; // of whole numbers
const [PLUS, STORE] = [0x92, [0x38, 2, 0]]; // of numbers with fractions, in 32 bits
const LOAD_4 = [0xfd, 0x00, 2, 0]; // four of them side by side, from a place in memory
const ADD_4 = [0xfd, 0xe4, 1];
const MULTIPLY_4 = [0xfd, 0xe6, 1];
const oneOf4 = (place) => [0xfd, 0x1f, place];
const [LOOP, AGAIN_IF, END] = [[0x03, 0x40], [0x0d, 0], 0x0b];

// The variables: where the rows of x and W begin; their length, in bytes; where the result goes, where results end;
// how far in the rows we are; four sums, each of every fourth product; and four zeros, which nothing changes.
const [X, W, LENGTH, Y, Y_END, AT, SUMS, ZEROS] = [0, 1, 2, 3, 4, 5, 6, 7];

/** y = W x, for one row of x. Rows are read in fours: after x there must be zeros up to the next multiple of four. */
const ROWS = [
  LOOP, // for each row of W:
  [get(ZEROS), set(SUMS)], //   sums = 0, 0, 0, 0
  [whole(0), set(AT)], //   at = 0
  LOOP, //   for each four numbers of the row:
  [get(X), get(AT), ADD, LOAD_4], //     the four of x
  [get(W), get(AT), ADD, LOAD_4], //     the four of W
  [MULTIPLY_4, get(SUMS), ADD_4, set(SUMS)], //     sums = their products + sums
  [get(AT), whole(16), ADD, tee(AT)], //     at = at + 16 bytes
  [get(LENGTH), LESS, AGAIN_IF, END], //     and again, if at < length
  get(Y), //   at y,
  [get(SUMS), oneOf4(0), get(SUMS), oneOf4(1), PLUS], //   the first sum + the second
  [get(SUMS), oneOf4(2), get(SUMS), oneOf4(3), PLUS, PLUS], //   + (the third + the fourth)
  STORE, //   is stored
  [get(W), get(LENGTH), ADD, set(W)], //   W = the next row
  [get(Y), whole(4), ADD, tee(Y)], //   y = y + 4 bytes
  [get(Y_END), LESS, AGAIN_IF, END], //   and again, if y < its end
].flat(2);

/** The module around it, in sections: each has a number and a length. */
const sized = (bytes) => [bytes.length, ...bytes];
const [INT, FLOATS_4] = [0x7f, 0x7b];
const MODULE = [
  [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // "\0asm", version 1
  [1, 9, 1, 0x60, 5, INT, INT, INT, INT, INT, 0], // one type: five integers -> nothing
  [2, 8, 1, 1, 0x6d, 1, 0x6d, 2, 0, 1], // one import: the memory m of m, one page at least
  [3, 2, 1, 0], // one function, of type 0
  [7, 5, 1, 1, 0x66, 0, 0], // one export: function 0, as f
  [10, ...sized([1, ...sized([2, 1, INT, 2, FLOATS_4, ...ROWS, END])])], // its code; AT to ZEROS are its own
];

/** For each memory of WebAssembly: its loop, and the places in it for a row of x and of y. */
const memories = new WeakMap();

/** Whether the loop in WebAssembly runs on these numbers. */
export const isSimd = (numbers) => memories.has(numbers.buffer);

/**
 * The weights in a memory of WebAssembly; as they were, if the browser has none with SIMD, or the page's policy
 * (a Content-Security-Policy without 'wasm-unsafe-eval') refuses it.
 * @param weights Float32Arrays by name
 * @param longest how many numbers the longest row has, of x or of y
 */
export function inSimdMemory(weights, longest) {
  const room = longest + 4 - (longest % 4); // and zeros up to a multiple of four
  const numbers = Object.values(weights).reduce((sum, { length }) => sum + length, 2 * room + 3);
  try {
    const memory = new WebAssembly.Memory({ initial: Math.ceil((4 * numbers) / 65_536) });
    const module = new WebAssembly.Module(Uint8Array.from(MODULE.flat()));
    const { f: rows } = new WebAssembly.Instance(module, { m: { m: memory } }).exports;
    let end = 0;
    const place = (length) => new Float32Array(memory.buffer, (end += 4 * length) - 4 * length, length);
    memories.set(memory.buffer, { rows, x: place(room), y: place(room) });
    const moved = {};
    for (const name of Object.keys(weights)) (moved[name] = place(weights[name].length)).set(weights[name]);
    return moved;
  } catch {
    return weights;
  }
}

/** x Wᵀ: each row of x times each row of W. Rows have I numbers. */
export function products(x, weight, I) {
  const y = new Float32Array((x.length / I) * (weight.length / I)); // (T, O)
  const simd = memories.get(weight.buffer);
  if (simd) productsInSimd(simd, x, weight, I, y);
  else productsInJavaScript(x, weight, I, y);
  return y;
}

function productsInSimd(simd, x, weight, I, y) {
  const O = weight.length / I;
  const end = simd.y.byteOffset + 4 * O;
  simd.x.fill(0, I, I + 3);
  for (let t = 0; t < x.length / I; t++) {
    simd.x.set(x.subarray(t * I, (t + 1) * I));
    simd.rows(simd.x.byteOffset, weight.byteOffset, 4 * I, simd.y.byteOffset, end);
    y.set(simd.y.subarray(0, O), t * O);
  }
}

/** Four sums at a time here, too: an addition need not wait for the one before it. */
function productsInJavaScript(x, weight, I, y) {
  let to = 0;
  for (let t = 0; t < x.length; t += I) {
    for (let o = 0; o < weight.length; o += I) {
      let [a, b, c, d, i] = [0, 0, 0, 0, 0];
      for (; i < I % 4; i++) a += weight[o + i] * x[t + i];
      for (; i < I; i += 4) {
        a += weight[o + i] * x[t + i];
        b += weight[o + i + 1] * x[t + i + 1];
        c += weight[o + i + 2] * x[t + i + 2];
        d += weight[o + i + 3] * x[t + i + 3];
      }
      y[to++] = a + b + c + d;
    }
  }
}
