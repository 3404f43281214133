// "Create backup" answers at once, and only once. Without this script the server sees to that.
for (const form of document.querySelectorAll("form.create")) {
  const asked = form.querySelector(".asked");
  const show = (isAsked) => {
    form.querySelector("button").disabled = isAsked;
    asked.textContent = isAsked ? asked.dataset.words : "";
  };
  form.addEventListener("submit", () => show(true));
  // Back here by the browser's button.
  addEventListener("pageshow", () => show(false));
}
