// What scrolls inside itself can be scrolled by the keyboard, and says to a screen reader what it is.
(() => {
  "use strict";
  const NAMES = [
    [".table-wrapper", "Table"],
    [".highlight > pre", "Code"],
    ["pre.diagram", "Diagram"],
  ];

  function mark() {
    for (const [selector, name] of NAMES) {
      document.querySelectorAll(selector).forEach((box, index) => {
        if (box.scrollWidth <= box.clientWidth) {
          box.removeAttribute("tabindex");
          return;
        }
        box.tabIndex = 0;
        box.setAttribute("role", "region");
        box.setAttribute("aria-label", `${name} ${index + 1}`);
      });
    }
  }

  addEventListener("load", mark);
  addEventListener("resize", mark);
})();
