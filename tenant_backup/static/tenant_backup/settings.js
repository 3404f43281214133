// While somebody changes the settings: say in one sentence what the choices mean.
// Without this script the sentence describes the saved settings.
"use strict";

(function () {
  const form = document.querySelector("form[data-summary-url]");
  if (!form) {
    return;
  }
  const sentence = form.querySelector(".in-words output");
  const going = form.querySelector(".in-words .going");
  let asked = 0;
  let timer = null;

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
          sentence.textContent = answer.summary;
          going.textContent = answer.going;
        }
      })
      .catch(function () {
        // Better no sentence than a wrong one.
        if (number === asked) {
          sentence.textContent = "";
          going.textContent = "";
        }
      });
  }

  form.addEventListener("input", function () {
    window.clearTimeout(timer);
    timer = window.setTimeout(ask, 300);
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
