// While somebody changes the settings: say in one sentence what the choices mean.
// Without this script the sentence describes the saved settings.
"use strict";

(function () {
  const form = document.querySelector("form[data-summary-url]");
  if (!form) {
    return;
  }
  const sentence = form.querySelector(".in-words output");
  const outlook = form.querySelector(".in-words .outlook");
  const going = form.querySelector(".in-words .going");
  const unsaved = form.querySelector(".unsaved");
  let asked = 0;
  let timer = null;

  function say(answer) {
    sentence.textContent = answer.summary || "";
    outlook.textContent = answer.outlook || "";
    going.textContent = answer.going || "";
  }

  function ask() {
    const choices = new URLSearchParams(new FormData(form));
    // These are not needed, and must not appear in the server's log.
    choices.delete("csrfmiddlewaretoken");
    choices.delete("notify_email");
    asked += 1;
    const number = asked;
    fetch(form.dataset.summaryUrl + "?" + choices, { headers: { Accept: "application/json" } })
      .then(function (response) {
        if (!response.ok || response.redirected) {
          throw new Error("no summary");
        }
        return response.json();
      })
      .then(function (answer) {
        // A later request has been sent: ignore this answer.
        if (number === asked) {
          say(answer);
        }
      })
      .catch(function () {
        // Better no sentence than a wrong one.
        if (number === asked) {
          say({});
        }
      });
  }

  form.addEventListener("input", function () {
    window.clearTimeout(timer);
    timer = window.setTimeout(ask, 300);
    unsaved.textContent = unsaved.dataset.text;
  });

  // A preset fills in the fields here. Without this script the server does.
  form.addEventListener("click", function (event) {
    const preset = event.target.closest("button[data-fields]");
    if (!preset) {
      return;
    }
    event.preventDefault();
    for (const [name, value] of Object.entries(JSON.parse(preset.dataset.fields))) {
      const field = form.elements[name];
      if (field && field.type === "checkbox") {
        field.checked = value;
      } else if (field) {
        field.value = value;
        const folded = field.closest(".backup-settings details");
        if (folded && value) {
          folded.open = true;
        }
      }
    }
    form.dispatchEvent(new Event("input"));
    form.querySelector(".submit button").focus();
  });

  function isChanged(field) {
    if (field.options) {
      return Array.from(field.options).some((one) => one.selected !== one.defaultSelected);
    }
    if (field.type === "checkbox") {
      return field.checked !== field.defaultChecked;
    }
    return field.value !== field.defaultValue;
  }

  // A browser may restore what was typed before, without an input event.
  window.addEventListener("pageshow", function () {
    if (Array.from(form.elements).some((field) => field.name && isChanged(field))) {
      ask();
    }
  });
})();
