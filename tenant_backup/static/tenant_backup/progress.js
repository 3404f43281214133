// While a backup is queued or running: move the progress bar. At the end say how it ended and reload
// the page. Without this script the page works, too, with its link "Reload the page".
"use strict";

(function () {
  const EVERY_MS = 2000;
  const active = document.querySelector("[data-status-url]");
  if (!active) {
    return;
  }
  let touched = document.querySelector(".errorlist") !== null;
  ["input", "submit"].forEach((what) => document.addEventListener(what, () => (touched = true)));

  function reload() {
    window.location.assign(active.querySelector(".reload").href);
  }

  function end(status) {
    const finished = active.querySelector(".finished");
    const kept = [finished, active.querySelector(".reload")];
    Array.from(active.childNodes).forEach((each) => kept.includes(each) || each.remove());
    finished.textContent = status.ended || finished.dataset.otherwise;
    if (!touched) {
      // Not before a screen reader has begun to read it out.
      window.setTimeout(reload, EVERY_MS / 2);
    }
    // Otherwise not at all, so that nobody loses what they are typing or sending.
  }

  function hasBegun(status) {
    return status.running && !active.querySelector("progress");
  }

  function show(status) {
    const bar = active.querySelector("progress");
    const soFar = active.querySelector(".so-far");
    if (soFar && status.so_far) {
      soFar.textContent = status.so_far;
    }
    if (bar && status.bytes_total) {
      bar.max = status.bytes_total;
      bar.value = status.bytes_done;
    }
  }

  function ask() {
    fetch(active.dataset.statusUrl, { headers: { Accept: "application/json" } })
      .then(function (response) {
        if (!response.ok || response.redirected) {
          throw new Error("no status");
        }
        return response.json();
      })
      .then(function (status) {
        show(status);
        if (status.ended || (!status.queued && !status.running)) {
          end(status);
        } else if (hasBegun(status) && !touched) {
          reload();
        } else {
          window.setTimeout(ask, EVERY_MS);
        }
      })
      .catch(function () {
        // The server is out of reach, or the session has ended: ask less often.
        window.setTimeout(ask, 10 * EVERY_MS);
      });
  }

  window.setTimeout(ask, EVERY_MS);
})();
