// Draws the diagrams of a page, in its colours: again when they change.
(() => {
  "use strict";
  const boxes = [...document.querySelectorAll("pre.diagram")];
  const sources = boxes.map((box) => box.textContent);
  const system = matchMedia("(prefers-color-scheme: dark)");

  // Or it draws everything of its class itself.
  mermaid.initialize({ startOnLoad: false });

  function isDark() {
    const chosen = document.body.dataset.theme;
    return chosen === "dark" || (chosen !== "light" && system.matches);
  }

  async function draw() {
    // The words on edges have too little contrast with Mermaid's own grey.
    const dark = { theme: "dark", themeVariables: { edgeLabelBackground: "#1f2023" } };
    mermaid.initialize({ startOnLoad: false, ...(isDark() ? dark : { theme: "neutral" }) });
    for (const [index, box] of boxes.entries()) {
      const { svg } = await mermaid.render(`diagram-${index}`, sources[index]);
      box.innerHTML = svg;
      const drawing = box.firstElementChild;
      // Wider than the page it scrolls, before its words become too small to be read.
      drawing.style.minWidth = `${0.75 * drawing.viewBox.baseVal.width}px`;
      const heading = box.closest("section")?.querySelector("h1, h2, h3, h4");
      const title = heading?.firstChild?.textContent ?? document.title;
      drawing.setAttribute("aria-label", `Diagram: ${title}`);
      box.dataset.drawn = isDark() ? "dark" : "light";
    }
    dispatchEvent(new Event("resize"));
  }

  addEventListener("load", draw);
  system.addEventListener("change", draw);
  new MutationObserver(draw).observe(document.body, { attributeFilter: ["data-theme"] });
})();
