// While a backup is queued or running: move the progress bar. At the end say how it ended and reload
// the page. Without this script the page works, too, with its link "Reload the page".
for (const active of document.querySelectorAll("[data-status-url]")) {
  const EVERY_MS = 2000;
  const find = (selector) => active.querySelector(selector);
  const finished = find(".finished");
  const link = find(".reload");
  const reload = () => location.assign(link.href);
  // Then the page is not reloaded: nobody must lose what they are typing or sending.
  let touched = document.querySelector(".errorlist");
  for (const what of ["input", "submit"]) document.addEventListener(what, () => (touched = true));

  const end = (words) => {
    [...active.childNodes].forEach((each) => [finished, link].includes(each) || each.remove());
    finished.textContent = words || finished.dataset.otherwise;
    // Not before a screen reader has begun to read it out.
    if (!touched) setTimeout(reload, EVERY_MS / 2);
  };

  const ask = async () => {
    try {
      const response = await fetch(active.dataset.statusUrl);
      if (!response.ok || response.redirected) throw response;
      const status = await response.json();
      const bar = find("progress");
      if (bar && status.bytes_total) {
        bar.max = status.bytes_total;
        bar.value = status.bytes_done;
      }
      if (status.so_far) find(".so-far")?.replaceChildren(status.so_far);
      if (status.ended || !(status.queued || status.running)) end(status.ended);
      else if (status.running && !bar && !touched) reload();
      else setTimeout(ask, EVERY_MS);
    } catch {
      // The server is out of reach, or the session has ended: ask less often.
      setTimeout(ask, 10 * EVERY_MS);
    }
  };

  setTimeout(ask, EVERY_MS);
}
