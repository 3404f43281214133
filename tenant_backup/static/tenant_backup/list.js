// A box that selects every backup in the list, and a button that says how many are selected.
// Without this script each has its own box, and the button says nothing of the number.
"use strict";

(function () {
  const form = document.getElementById("delete-selected");
  const boxes = Array.from(form.elements).filter((each) => each.type === "checkbox");
  const button = form.querySelector("button");
  const words = button.textContent;
  const label = document.createElement("label");
  const all = document.createElement("input");
  all.type = "checkbox";
  label.append(all, form.dataset.all);
  form.prepend(label);

  function count() {
    const number = boxes.filter((box) => box.checked).length;
    all.checked = number === boxes.length;
    all.indeterminate = number > 0 && number < boxes.length;
    button.textContent = number ? `${words} (${number})` : words;
  }

  all.addEventListener("change", function () {
    boxes.forEach((box) => (box.checked = all.checked));
    count();
  });
  boxes.forEach((box) => box.addEventListener("change", count));
  // A browser may restore what was selected before.
  window.addEventListener("pageshow", count);
})();
