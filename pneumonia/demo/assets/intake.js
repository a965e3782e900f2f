// Films by other ways than the field: pasted anywhere on the page, or dropped on a light box; and what Gradio's parts
// lack for those who listen.
(() => {
  "use strict";

  const FIELDS = ".upload input[type=file]";

  function give(field, files) {
    if (!field || !files.length) return false;
    const transfer = new DataTransfer();
    transfer.items.add(files[0]);
    field.files = transfer.files;
    field.dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  }

  // The field of the tab that is open: of several, that beside which the visitor is, else the first.
  function nearest() {
    const open = [...document.querySelectorAll(FIELDS)].filter((field) => field.closest(".upload").checkVisibility());
    const beside = open.find((field) => field.closest(".place")?.contains(document.activeElement));
    return beside || open[0];
  }

  document.addEventListener("paste", (event) => {
    if (event.target.closest?.("input, textarea, [contenteditable=true]")) return;
    if (give(nearest(), [...(event.clipboardData?.files ?? [])])) event.preventDefault();
  });

  // Gradio names each of its fields alike, and in English; here they are named by what stands beside and on them.
  function name() {
    for (const button of document.querySelectorAll(".upload button[aria-label]:not([data-named])")) {
      const label = button.closest(".upload").querySelector("[data-testid=block-label]")?.textContent.trim();
      button.setAttribute("aria-label", [button.textContent.replace(/\s+/g, " ").trim(), label].filter(Boolean).join(", "));
      button.dataset.named = "";
    }
  }

  // A region that is announced has to be there before what is announced in it.
  function announce() {
    for (const region of document.querySelectorAll("[id$=-answer] .html-container:not([aria-live])")) {
      region.setAttribute("aria-live", "polite");
    }
  }

  const prepare = () => [name, announce].forEach((step) => step());
  new MutationObserver(prepare).observe(document, { childList: true, subtree: true });

  const box = (event) => event.target.closest?.("[data-drop]");

  document.addEventListener("dragover", (event) => {
    if (!box(event)) return;
    event.preventDefault();
    box(event).classList.add("over");
  });
  document.addEventListener("dragleave", (event) => box(event)?.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    const over = box(event);
    if (!over) return;
    event.preventDefault();
    over.classList.remove("over");
    give(document.querySelector(`#${over.dataset.drop} input[type=file]`), [...event.dataTransfer.files]);
  });
})();
