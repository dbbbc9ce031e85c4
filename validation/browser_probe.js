// Runs in the loaded page and leaves its findings in the title.
addEventListener("load", () => {
  const faults = [];
  // The page may be kept narrower than the window.
  const page = document.documentElement;
  const wide = Math.min(page.clientWidth, page.getBoundingClientRect().width);
  const widest = wide < page.clientWidth ? document.body.scrollWidth : page.scrollWidth;
  if (widest > wide) faults.push("the page is wider than the window");
  const brief = (e) => e.tagName + " “" + e.textContent.trim().slice(0, 60) + "”";

  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parse = (color) => color.match(/[\d.]+/g).map(Number);
  const backdrop = (e) => {
    for (; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color.slice(0, 3);
    }
    return [255, 255, 255];
  };
  for (const figure of document.querySelectorAll("figure"))
    if (![...figure.querySelectorAll("svg")].some((svg) => svg.getClientRects().length))
      faults.push("an empty figure");
  for (const e of document.querySelectorAll("h1,h2,h3,p,caption,figcaption,th,td,pre,code,figure,a,.badge")) {
    const held = e.closest(".scroll");
    const inline = getComputedStyle(e).display === "inline";
    if (!inline && e.scrollWidth > e.clientWidth + 1) faults.push(brief(e) + " overflows");
    if (!held && e.getBoundingClientRect().right > wide + 1) faults.push(brief(e) + " sticks out");
    const [x, y] = [luminance(parse(getComputedStyle(e).color).slice(0, 3)), luminance(backdrop(e))];
    // WCAG AA for text of normal size.
    if ((Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05) < 4.5) faults.push(brief(e) + " is too faint");
  }
  for (const svg of document.querySelectorAll("figure svg")) {
    // Of the two drawings of a figure, for wide and for narrow windows, one is shown.
    if (!svg.getClientRects().length) continue;
    if (svg.getBoundingClientRect().height < 50) faults.push("an empty figure");
    const [box, view] = [svg.getBBox(), svg.viewBox.baseVal];
    if (box.x < view.x - 1 || box.y < view.y - 1 || box.x + box.width > view.x + view.width + 1 ||
        box.y + box.height > view.y + view.height + 1)
      faults.push("the figure of " + (svg.closest("section")?.id ?? "the opening") + " is cut off");
  }
  for (const part of performance.getEntriesByType("resource"))
    if (!part.name.startsWith("data:")) faults.push("asked for " + part.name);
  for (const e of document.querySelectorAll("[src],[href]"))
    if (!/^(#|data:)/.test(e.getAttribute("src") ?? e.getAttribute("href")))
      faults.push("needs " + (e.getAttribute("src") ?? e.getAttribute("href")));
  for (const link of document.querySelectorAll('a[href^="#"]'))
    if (!document.getElementById(link.hash.slice(1))) faults.push("a link to nowhere: " + link.hash);

  const table = document.querySelector("table");
  const last = table.tHead.rows[0].cells.length - 1;
  table.tHead.rows[0].cells[last].firstChild.click();
  const values = [...table.tBodies[0].rows].map((r) => Number(r.cells[last].dataset.order));
  if (values.some((v, i) => i && v < values[i - 1])) faults.push("not sorted: " + values);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.title = "PROBED" + JSON.stringify({ dark, faults });
});
