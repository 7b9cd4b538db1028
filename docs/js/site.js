// Typeset what pymdownx.arithmatex marked, open pictures in their own size, and let the keyboard reach what scrolls.
document.addEventListener("DOMContentLoaded", () => {
  const delimiters = [
    { left: "\\[", right: "\\]", display: true },
    { left: "\\(", right: "\\)", display: false },
  ];
  for (const element of document.querySelectorAll(".arithmatex")) {
    renderMathInElement(element, { delimiters, throwOnError: false });
  }
  for (const image of document.querySelectorAll(".md-content :not(a) > img")) {
    const link = Object.assign(document.createElement("a"), { href: image.src, title: "in its own size" });
    image.replaceWith(link);
    link.append(image);
  }
});

const reachable = () => {
  for (const element of document.querySelectorAll("pre > code, .md-typeset__scrollwrap, .arithmatex")) {
    if (element.scrollWidth > element.clientWidth) element.tabIndex = 0;
  }
};
window.addEventListener("load", reachable);
window.addEventListener("resize", reachable);
