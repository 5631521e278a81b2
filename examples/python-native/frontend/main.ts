import "./style.css";
import { say, type Note } from "./note";

const list = document.querySelector<HTMLUListElement>("#notes")!;
const form = document.querySelector<HTMLFormElement>("#sign")!;

async function show(): Promise<void> {
  const notes: Note[] = await (await fetch("/api/notes")).json();
  list.replaceChildren(
    ...notes.map((note) => Object.assign(document.createElement("li"), { textContent: say(note) })),
  );
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  await fetch("/api/notes", { method: "POST", body: new URLSearchParams(new FormData(form) as never) });
  form.reset();
  await show();
});

show();
