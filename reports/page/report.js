"use strict";
const scenarios = [...document.querySelectorAll("details.scenario")];
const find = document.getElementById("find");
let show = "all";

function filter() {
  const words = find.value.toLowerCase().split(/\s+/);
  for (const s of scenarios) {
    const text = s.textContent.toLowerCase();
    const bad = s.classList.contains("failed") || s.classList.contains("error");
    s.classList.toggle("hidden", !(words.every(w => text.includes(w)) && (show === "all" || bad)));
  }
}

find.addEventListener("input", filter);
for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", () => {
    show = button.dataset.show;
    for (const b of document.querySelectorAll("[data-show]")) b.setAttribute("aria-pressed", String(b === button));
    filter();
  });
}
document.getElementById("open").addEventListener("click", event => {
  const open = scenarios.some(s => !s.open);
  for (const s of scenarios) s.open = open;
  event.target.textContent = open ? "Close all" : "Open all";
});
document.getElementById("save").addEventListener("click", () => {
  const blob = new Blob([document.getElementById("data").textContent], { type: "application/json" });
  const a = document.createElement("a");
  a.href = URL.createObjectURL(blob);
  a.download = "results.json";
  a.click();
  URL.revokeObjectURL(a.href);
});
