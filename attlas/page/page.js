(() => {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);

  // A figure names colours and fonts by the page's CSS variables, so that one figure serves light and dark.
  const paint = (value, css) => {
    if (typeof value === "string") return value.replace(/var\((--[\w-]+)\)/g, (_, name) => css.getPropertyValue(name).trim());
    if (Array.isArray(value)) return value.map((part) => paint(part, css));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, paint(part, css)]));
  };

  const draw = () => {
    const css = getComputedStyle(document.documentElement);
    for (const [id, figure] of Object.entries(figures)) {
      const { data, layout } = paint(figure, css);
      Plotly.react(id, data, layout, { displayModeBar: false, responsive: true, showSendToCloud: false, plotlyServerURL: "" });
    }
  };

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
