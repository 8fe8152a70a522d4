"use strict";
// Renews the page while the run goes on. The server answers 204 when there is nothing new, and goes away with the run.
(() => {
  const main = document.getElementById("main");
  let version = "", failures = 0;
  const renew = async () => {
    let wait = 1000;
    try {
      const answer = await fetch("fragment?have=" + encodeURIComponent(version), {cache: "no-store"});
      if (answer.status === 200) {
        version = answer.headers.get("X-Version");
        const open = main.querySelector("details")?.open;
        main.innerHTML = await answer.text();
        if (open) main.querySelector("details").open = true;
        document.title = main.querySelector("h1").textContent + ": " + main.querySelector(".badge").textContent;
      }
      failures = 0;
    } catch {
      failures++;
      wait = Math.min(1000 * 2 ** failures, 30000);
      if (failures === 1) main.querySelector(".when")?.append(" (the program is no longer there)");
    }
    setTimeout(renew, wait);
  };
  renew();
})();
