export interface Note {
  name: string;
  text: string;
}

/** Says one note in words. */
export function say({ name, text }: Note): string {
  return `${name || "someone"}: ${text}`;
}
