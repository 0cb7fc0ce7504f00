// Quiz: questions with answers to choose from, each of which says why it is right or wrong.
import { button, element, frame } from "./controls.js";

/** A text in which code stands between backticks and emphasis between asterisks. */
const marked = (text) =>
  text
    .split(/(`[^`]+`|\*[^*]+\*)/)
    .map((part) =>
      part.startsWith("`")
        ? element("code", {}, part.slice(1, -1))
        : part.startsWith("*")
          ? element("em", {}, part.slice(1, -1))
          : part,
    );

let groups = 0; // radio buttons of one group share a name, which nothing else on the page may have

/** One question; `answered` hears whether the answer that was checked is right. */
function fieldOf({ text, answers }, number, answered) {
  const group = `mgw-quiz-${groups++}`;
  const why = element("p", { class: "mgw-why", role: "status" });
  const options = answers.map((answer) => {
    const input = element("input", { type: "radio", name: group });
    const label = element("label", {}, input, element("span", {}, ...marked(answer.text)));
    return { answer, input, label };
  });
  const judge = () => {
    const chosen = options.find(({ input }) => input.checked);
    if (!chosen) {
      why.replaceChildren("Choose an answer first.");
      return;
    }
    const { right, why: reason } = chosen.answer;
    why.className = `mgw-why ${right ? "mgw-right" : "mgw-wrong"}`;
    why.replaceChildren(element("strong", {}, right ? "✓ Right. " : "✗ Not so. "), ...marked(reason));
    answered(right);
  };
  const forget = () => {
    why.className = "mgw-why";
    why.replaceChildren();
    answered(false);
  };
  options.forEach(({ input }) => input.addEventListener("change", forget));
  const legend = element("legend", {}, element("strong", {}, `${number}. `), ...marked(text));
  const check = button("Check", judge, { "aria-label": `Check question ${number}` });
  return element("fieldset", {}, legend, ...options.map(({ label }) => label), check, why);
}

export default {
  render({ model, el }) {
    const root = frame(el, "Questions on this chapter");
    root.classList.add("mgw-quiz");
    const questions = model.get("questions");
    const right = questions.map(() => false);
    const score = element("p", { class: "mgw-small" });
    const say = () => (score.textContent = `${right.filter(Boolean).length} of ${right.length} right`);
    const fields = questions.map((question, i) =>
      fieldOf(question, i + 1, (isRight) => {
        right[i] = isRight;
        say();
      }),
    );
    say();
    root.append(...fields, score);
  },
};
