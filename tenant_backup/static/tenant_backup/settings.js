// While somebody changes the settings: say in one sentence what the choices mean.
// Without this script the sentence describes the saved settings.
for (const form of document.querySelectorAll("form[data-summary-url]")) {
  const parts = { summary: "output", outlook: ".outlook", going: ".going" };
  const unsaved = form.querySelector(".unsaved");
  let asked = 0;
  let timer;

  const choicesIn = (some) => {
    const choices = new URLSearchParams(new FormData(some));
    // These are not needed, and must not appear in the server's log.
    choices.delete("csrfmiddlewaretoken");
    choices.delete("notify_email");
    return `${choices}`;
  };

  const ask = async () => {
    const number = ++asked;
    const answer = await fetch(`${form.dataset.summaryUrl}?${choicesIn(form)}`)
      .then((response) => response.ok && !response.redirected && response.json())
      // Better no sentence than a wrong one.
      .catch(() => false);
    // A later request has been sent: ignore this answer.
    if (number !== asked) return;
    for (const [name, selector] of Object.entries(parts)) {
      form.querySelector(`.in-words ${selector}`).textContent = answer[name] || "";
    }
  };

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 300);
    unsaved.textContent = unsaved.dataset.text;
  });

  // A preset fills in the fields here. Without this script the server does.
  form.addEventListener("click", (event) => {
    const preset = event.target.closest("button[data-fields]");
    if (!preset) return;
    event.preventDefault();
    for (const [name, value] of Object.entries(JSON.parse(preset.dataset.fields))) {
      const field = form.elements[name];
      if (field?.type === "checkbox") field.checked = value;
      else if (field) {
        field.value = value;
        if (value) field.closest("details")?.setAttribute("open", "");
      }
    }
    form.dispatchEvent(new Event("input"));
    form.querySelector(".submit button").focus();
  });

  // A browser may restore what was typed before, without an input event.
  addEventListener("pageshow", () => {
    const untouched = form.cloneNode(true);
    untouched.reset();
    if (choicesIn(form) !== choicesIn(untouched)) ask();
  });
}
