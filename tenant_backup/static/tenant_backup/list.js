// A box that selects all backups in the list; the button says how many are selected.
"use strict";

(function () {
  const form = document.getElementById("delete-selected");
  const boxes = Array.from(form.elements).filter((each) => each.type === "checkbox");
  const button = form.querySelector("button");
  const words = button.textContent;
  const all = document.createElement("input");
  all.type = "checkbox";
  const label = document.createElement("label");
  label.append(all, form.dataset.all);
  form.prepend(label);

  function count() {
    const number = boxes.filter((box) => box.checked).length;
    all.checked = number === boxes.length;
    all.indeterminate = number > 0 && !all.checked;
    button.textContent = number ? `${words} (${number})` : words;
  }

  all.addEventListener("change", function () {
    boxes.forEach((box) => (box.checked = all.checked));
  });
  document.addEventListener("change", count);
  // A browser may restore what was selected before.
  window.addEventListener("pageshow", count);
})();
