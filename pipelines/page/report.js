"use strict";
// Charts in the page's colors, light, dark or printed; tables that sort.
const dark = matchMedia("(prefers-color-scheme: dark)");
const printed = matchMedia("print");

function look() {
  const css = getComputedStyle(document.documentElement);
  const color = (name) => css.getPropertyValue(name).trim();
  const ink = color("--ink"), line = color("--line"), paper = color("--paper");
  return { ink, line, paper };
}

function styled(layout) {
  const { ink, line, paper } = look();
  const narrow = innerWidth < 640;
  const axes = {};
  for (const name of Object.keys(layout).concat(["xaxis", "yaxis"])) {
    if (/^[xy]axis\d*$/.test(name)) {
      axes[name] = { automargin: true, ...layout[name], gridcolor: line, zerolinecolor: line,
        linecolor: line };
    }
  }
  // The titles of panels, which plotly draws so large that neighbors overlap
  const annotations = (layout.annotations || []).map((each) => (
    { ...each, font: { ...each.font, size: narrow ? 11 : 13 } }));
  return {
    ...layout, ...axes, annotations,
    font: { family: "system-ui, sans-serif", size: narrow ? 11 : 13, color: ink },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { bgcolor: paper, font: { color: ink } },
    legend: { orientation: "h", yref: "container", yanchor: "bottom", y: 0, ...layout.legend },
    margin: { t: 40, r: 12, b: 50, l: 12, ...layout.margin },
    autosize: true, height: layout.height,
  };
}

function draw() {
  FIGURES.forEach((figure, number) => {
    const place = document.getElementById("chart" + number);
    Plotly.react(place, figure.data, styled(figure.layout),
      { responsive: true, displayModeBar: false });
  });
}

function value(row, column) {
  const cell = row.cells[column];
  const text = (cell.dataset.value ?? cell.innerText).replace(/[,%]/g, "").trim();
  const number = Number(text.replace("<", ""));
  return text !== "" && !Number.isNaN(number) ? number : text;
}

function compare(one, other) {
  if (typeof one === typeof other) return one < other ? -1 : one > other ? 1 : 0;
  return typeof one === "number" ? -1 : 1;
}

function sortable(table) {
  const heads = [...table.tHead.rows].at(-1).cells;
  [...heads].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => compare(value(a, column), value(b, column)) * (down ? -1 : 1));
      table.tBodies[0].append(...rows);
    });
  });
}

document.querySelectorAll("table").forEach(sortable);
draw();
dark.addEventListener("change", draw);
printed.addEventListener("change", draw);
