"use strict";
// Fetches the page again and again while it is looked at, and hands the new one to `renew(page)`, which the page defines.
// It waits five seconds, or ten times as long as the last one took, so that a run that trains here is not held up.
async function news() {
  const note = document.getElementById("live");
  let wait = 5000;
  if (!document.hidden) {
    const began = performance.now();
    try {
      const answer = await fetch(location.href);
      if (!answer.ok) throw new Error(await answer.text());
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      renew(page);
      if (page.body.dataset.live === undefined) { // no run goes on any more
        note.textContent = "All runs are over.";
        return;
      }
      note.textContent = `Updated at ${new Date().toLocaleTimeString()}.`;
      note.classList.remove("warn");
    } catch (error) {
      note.textContent = `No news from ccdiff-runs: ${error.message}`;
      note.classList.add("warn");
      wait = 15000;
    }
    wait = Math.max(wait, 10 * (performance.now() - began));
  }
  setTimeout(news, wait);
}
setTimeout(news, 5000);
