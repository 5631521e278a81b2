/** Says one search result in words. */
export function resultLine({ name, distance }) {
  return distance === 0 ? name : `${name} (${distance} ${distance === 1 ? "letter" : "letters"} off)`;
}
