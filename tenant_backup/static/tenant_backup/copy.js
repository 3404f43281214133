// A button before each text that is there to be copied.
for (const pre of document.querySelectorAll("[data-copy]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button copy";
  button.ariaLive = "polite";
  button.textContent = pre.dataset.copy;
  button.onclick = () => {
    getSelection().selectAllChildren(pre);
    if (document.execCommand("copy")) button.textContent = pre.dataset.copied;
  };
  pre.before(button);
}
