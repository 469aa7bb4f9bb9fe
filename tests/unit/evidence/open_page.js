// Opens a page as a browser does, as far as page.js can see: `node open_page.js INDEX_HTML` prints what it filled in.
"use strict";
const fs = require("fs"), path = require("path"), vm = require("vm");

const html = fs.readFileSync(process.argv[2], "utf8");
const folder = path.dirname(process.argv[2]);
const cells = [...html.matchAll(/<td data-value="([^"]*)" data-runs="([^"]*)">([^<]*)<\/td>/g)]
  .map(([, value, runs, textContent]) => ({ dataset: { value, runs }, textContent }));
const content = html.match(/<script type="application\/json">([^]*?)<\/script>/)[1];
const parts = { script: { textContent: content }, ".plot": { innerHTML: "" }, span: { textContent: "" } };
const listeners = [];
const document = {
  querySelectorAll: () => cells,
  getElementById: () => ({ querySelector: (name) => parts[name] }),
  addEventListener: (event, listener) => listeners.push(listener),
};
const context = vm.createContext({ document });
for (const [, source, code] of html.matchAll(/<script(?: src="([^"]*)")?>([^]*?)<\/script>/g)) {
  const file = source && path.join(folder, source);
  if (!file) vm.runInContext(code, context);
  else if (fs.existsSync(file)) vm.runInContext(fs.readFileSync(file, "utf8"), context);
}
listeners.forEach((listener) => listener());
console.log(JSON.stringify({
  cells: cells.map(({ dataset, textContent }) => [dataset.value, dataset.runs.split(":")[0], textContent]),
  plot: parts[".plot"].innerHTML,
  caption: parts.span.textContent,
}));
