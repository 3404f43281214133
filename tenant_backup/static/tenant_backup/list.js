// A box that selects all backups in the list; the button says how many are selected.
for (const form of document.querySelectorAll("#delete-selected")) {
  const boxes = [...form.elements].filter((each) => each.type === "checkbox");
  const button = form.querySelector("button");
  const words = button.textContent;
  const all = document.createElement("input");
  all.type = "checkbox";
  const label = document.createElement("label");
  label.append(all, form.dataset.all);
  form.prepend(label);

  const count = () => {
    const number = boxes.filter((box) => box.checked).length;
    all.checked = number === boxes.length;
    all.indeterminate = number > 0 && !all.checked;
    button.textContent = number ? `${words} (${number})` : words;
  };

  all.onchange = () => boxes.forEach((box) => (box.checked = all.checked));
  document.addEventListener("change", count);
  // A browser may restore what was selected before.
  addEventListener("pageshow", count);
}
