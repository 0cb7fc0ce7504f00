// Formulas in a small grammar, read in a browser; minigpt/memory/formulas.py, which reads them too, writes it down.
const TOKEN = / *(?:((?:0|[1-9]\d*)(?![\w.]))|([A-Za-z_]\w*)|'([a-z\d-]*)'|(\/\/|[=!]=|[-+*()<>,]))/y;
const WORDS = ["if", "else", "and", "or", "not"];
// From what binds least to what binds most.
const LEVELS = [["or"], ["and"], ["not"], ["<", ">", "==", "!="], ["+", "-"], ["*", "//"]];
const OPERATORS = {
  or: (a, b) => a || b, and: (a, b) => a && b,
  "<": (a, b) => a < b, ">": (a, b) => a > b, "==": (a, b) => a == b, "!=": (a, b) => a != b,
  "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "//": (a, b) => Math.floor(a / b),
};

/** A formula as a function of its names' values; an Error if it is none, or uses a name that is not known. */
export function formula(text, known, where) {
  const tokens = [];
  let at = 0;

  function fail(wanted) {
    throw new Error(`${where} must have ${wanted}; got ${JSON.stringify(tokens[at]?.text ?? "")} in ${text}`);
  }
  const isNext = (...signs) => signs.includes(tokens[at]?.sign);
  const take = (sign) => (isNext(sign) ? tokens[at++] : fail(sign));

  function whole() {
    const value = level(0);
    if (!isNext("if")) return value;
    take("if");
    const condition = level(0);
    take("else");
    const otherwise = whole();
    return (values) => (condition(values) ? value(values) : otherwise(values));
  }

  function level(i) {
    const signs = LEVELS[i];
    if (!signs) return atom();
    if (signs[0] === "not") {
      if (!isNext("not")) return level(i + 1);
      take("not");
      const value = level(i);
      return (values) => !value(values);
    }
    let value = level(i + 1);
    while (isNext(...signs)) {
      const { sign } = tokens[at++];
      const [left, right] = [value, /^.=$/.test(sign) && tokens[at]?.quoted !== undefined ? quoted() : level(i + 1)];
      value = (values) => OPERATORS[sign](left(values), right(values));
      if (signs[0] === "<") break;
    }
    return value;
  }

  function quoted() {
    const value = tokens[at++].quoted;
    return () => value;
  }

  function atom() {
    const { integer, name } = tokens[at] ?? {};
    if (integer !== undefined) {
      at += 1;
      return () => Number(integer);
    }
    if (isNext("(")) {
      take("(");
      const value = whole();
      take(")");
      return value;
    }
    if (name === "max" && tokens[at + 1]?.sign === "(") return largest();
    if (!known.has(name)) fail("a known name or an integer");
    at += 1;
    return (values) => values[name];
  }

  function largest() {
    at += 2;
    const all = [whole()];
    do {
      take(",");
      all.push(whole());
    } while (isNext(","));
    take(")");
    return (values) => Math.max(...all.map((value) => value(values)));
  }

  for (TOKEN.lastIndex = 0; TOKEN.lastIndex < text.length;) {
    const [token, integer, name, quotedText, sign] = TOKEN.exec(text) ?? fail("only names, integers and signs");
    const word = WORDS.includes(name) ? { sign: name } : { name, sign };
    tokens.push({ text: token.trim(), integer, quoted: quotedText, ...word });
  }
  const result = whole();
  return at === tokens.length ? result : fail("nothing more");
}
