// "Create backup" answers at once, and only once. Without this script the server sees to that.
"use strict";

(function () {
  const form = document.querySelector("form.create");
  if (!form) {
    return;
  }
  const asked = form.querySelector(".asked");

  function show(isAsked) {
    form.querySelector("button").disabled = isAsked;
    asked.textContent = isAsked ? asked.dataset.words : "";
  }

  form.addEventListener("submit", () => show(true));
  // Back here by the browser's button.
  window.addEventListener("pageshow", () => show(false));
})();
