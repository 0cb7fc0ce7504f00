// Formulas in a small grammar, read in a browser; minigpt/memory/formulas.py, which reads them too, writes it down.
const TOKEN = / *(?:((?:0|[1-9]\d*)(?![\w.]))|([A-Za-z_]\w*)|'([a-z\d-]*)'|(\/\/|[=!]=|[-+*()<>,]))/y;
const WORDS = new Set(["if", "else", "and", "or", "not"]);
// From what binds least to what binds most.
const LEVELS = [["or"], ["and"], ["not"], ["<", ">", "==", "!="], ["+", "-"], ["*", "//"]];
const OPERATORS = {
  or: (a, b) => a || b,
  and: (a, b) => a && b,
  "<": (a, b) => a < b,
  ">": (a, b) => a > b,
  "==": (a, b) => plain(a) === plain(b),
  "!=": (a, b) => plain(a) !== plain(b),
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "//": (a, b) => Math.floor(a / b),
};

/** True is 1 and false 0, as in Python. */
const plain = (value) => (typeof value === "boolean" ? Number(value) : value);

/** A formula as a function of its names' values; an Error if it is none, or uses a name that is not known. */
export function formula(text, known, where) {
  const reader = new Reader(text, known, where);
  const result = reader.formula();
  return reader.at === reader.tokens.length ? result : reader.fail("nothing more");
}

/** Reads tokens from the first to the last; each method reads one piece of the grammar and returns it as a function. */
class Reader {
  constructor(text, known, where) {
    Object.assign(this, { text, known, where, tokens: [], at: 0 });
    for (TOKEN.lastIndex = 0; TOKEN.lastIndex < text.length;) {
      const [token, integer, name, quoted, sign] = TOKEN.exec(text) ?? this.fail("only names, integers and signs");
      const word = WORDS.has(name) ? { sign: name } : { name, sign };
      this.tokens.push({ text: token.trim(), integer, quoted, ...word });
    }
  }

  fail(wanted) {
    const got = JSON.stringify(this.tokens[this.at]?.text ?? "");
    throw new Error(`${this.where} must have ${wanted}; got ${got} in ${this.text}`);
  }

  isNext(...signs) {
    return signs.includes(this.tokens[this.at]?.sign);
  }

  take(sign) {
    return this.isNext(sign) ? this.tokens[this.at++] : this.fail(sign);
  }

  formula() {
    const value = this.level(0);
    if (!this.isNext("if")) return value;
    this.take("if");
    const condition = this.level(0);
    this.take("else");
    const otherwise = this.formula();
    return (values) => (condition(values) ? value(values) : otherwise(values));
  }

  level(i) {
    const signs = LEVELS[i];
    if (!signs) return this.atom();
    if (signs[0] === "not") return this.negated(i);
    let value = this.level(i + 1);
    while (this.isNext(...signs)) {
      const { sign } = this.tokens[this.at++];
      const isText = /^.=$/.test(sign) && this.tokens[this.at]?.quoted !== undefined;
      const [left, right] = [value, isText ? this.quoted() : this.level(i + 1)];
      value = (values) => OPERATORS[sign](left(values), right(values));
      if (signs[0] === "<") break;
    }
    return value;
  }

  negated(i) {
    if (!this.isNext("not")) return this.level(i + 1);
    this.take("not");
    const value = this.level(i);
    return (values) => !value(values);
  }

  quoted() {
    const value = this.tokens[this.at++].quoted;
    return () => value;
  }

  atom() {
    const { integer, name } = this.tokens[this.at] ?? {};
    if (integer !== undefined) {
      this.at += 1;
      return () => Number(integer);
    }
    if (this.isNext("(")) {
      this.take("(");
      const value = this.formula();
      this.take(")");
      return value;
    }
    if (name === "max" && this.tokens[this.at + 1]?.sign === "(") return this.largest();
    if (!this.known.has(name)) this.fail("a known name or an integer");
    this.at += 1;
    return (values) => values[name];
  }

  largest() {
    this.at += 2;
    const all = [this.formula()];
    do {
      this.take(",");
      all.push(this.formula());
    } while (this.isNext(","));
    this.take(")");
    return (values) => Math.max(...all.map((value) => value(values)));
  }
}
