import "./style.css";
import { resultLine } from "./results.js";

const query = document.querySelector("#query");
const results = document.querySelector("#results");

async function search() {
  const response = await fetch(`/api/search?q=${encodeURIComponent(query.value)}`);
  const found = await response.json();
  results.replaceChildren(
    ...found.map((result) => Object.assign(document.createElement("li"), { textContent: resultLine(result) })),
  );
}

query.addEventListener("input", search);
search();
