// A model for the page from the file that minigpt/quantization.py wrote: configuration, weights, tokenizer.

const VERSION = "1";

/** The file's configuration, tokenizer and weights; an error that says what is wrong with it. */
export function readPageFile(buffer) {
  const wrong = (what) => new Error(`The model's file is damaged or of another version: ${what}.`);
  if (buffer.byteLength < 8) throw wrong("it is cut short");
  const begin = 8 + Number(new DataView(buffer).getBigUint64(0, true));
  if (!(begin <= buffer.byteLength)) throw wrong("it is cut short");
  let header;
  try {
    header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, begin - 8)));
  } catch {
    throw wrong("its header can't be read");
  }
  const { __metadata__: facts, ...tensors } = header;
  if (facts?.version !== VERSION) throw wrong(`version ${VERSION} is needed, it is ${facts?.version}`);
  if (String(crc32(new Uint8Array(buffer, begin))) !== facts.crc32) throw wrong("its checksum differs");

  const weights = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    if (!name.endsWith(".scale")) weights[name] = numbersOf(buffer, begin, tensor, tensors[`${name}.scale`]);
  }
  return { config: JSON.parse(facts.config), tokenizer: JSON.parse(facts.tokenizer), weights };
}

/** A tensor as a Float32Array; whole numbers are multiplied by the factor of their row. */
function numbersOf(buffer, begin, { dtype, shape, data_offsets: [from, to] }, scale) {
  if (dtype === "F32") return new Float32Array(buffer.slice(begin + from, begin + to));
  const whole = new Int8Array(buffer, begin + from, to - from); // (rows, columns)
  const scales = numbersOf(buffer, begin, scale); // (rows,)
  const columns = shape[1];
  const numbers = new Float32Array(whole.length); // (rows, columns)
  for (let i = 0; i < whole.length; i++) numbers[i] = whole[i] * scales[Math.floor(i / columns)];
  return numbers;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  return rest;
});

/** The CRC-32 of bytes, as zlib has it. */
function crc32(bytes) {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[i]) & 255];
  return (crc ^ 0xffffffff) >>> 0;
}
